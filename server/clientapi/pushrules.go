package clientapi

// The operations of pushrules.yaml.

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/push"
	"porchlight/server/pushrule"
	"porchlight/server/web"
)

type getPushRulesOut struct {
	Global pushrule.Ruleset `json:"global"`
}

// getPushRules: spec: client-server API, GET pushrules.
func (a *API) getPushRules(c *web.Call, tx *kv.ReadTx, _ web.Empty) (getPushRulesOut, error) {
	return getPushRulesOut{a.Push.Rules(tx, c.User)}, nil
}

// getPushRulesGlobal: spec: client-server API, GET pushrules/global.
func (a *API) getPushRulesGlobal(c *web.Call, tx *kv.ReadTx, _ web.Empty) (pushrule.Ruleset, error) {
	return a.Push.Rules(tx, c.User), nil
}

type pushRuleIn struct {
	Kind string `path:"kind"`
	ID   string `path:"ruleId"`
}

// getPushRule: spec: client-server API, GET pushrules/global/{kind}/{ruleId}.
func (a *API) getPushRule(c *web.Call, tx *kv.ReadTx, in pushRuleIn) (pushrule.Rule, error) {
	return a.Push.Rule(tx, c.User, in.Kind, in.ID)
}

type setPushRuleIn struct {
	pushRuleIn
	Before     string          `query:"before"`
	After      string          `query:"after"`
	Actions    json.RawMessage `json:"actions" required:"true"`
	Conditions json.RawMessage `json:"conditions"`
	Pattern    *string         `json:"pattern"`
}

// setPushRule: spec: client-server API, PUT pushrules/global/{kind}/{ruleId}.
func (a *API) setPushRule(c *web.Call, tx *kv.WriteTx, in setPushRuleIn) (web.Empty, error) {
	rule := pushrule.Rule{ID: in.ID, Actions: in.Actions, Conditions: in.Conditions, Pattern: in.Pattern}
	return web.Empty{}, a.Push.SetRule(tx, c.User, in.Kind, rule, push.Place{Before: in.Before, After: in.After})
}

// deletePushRule: spec: client-server API, DELETE pushrules/global/{kind}/{ruleId}.
func (a *API) deletePushRule(c *web.Call, tx *kv.WriteTx, in pushRuleIn) (web.Empty, error) {
	return web.Empty{}, a.Push.DeleteRule(tx, c.User, in.Kind, in.ID)
}

type isPushRuleEnabledOut struct {
	Enabled bool `json:"enabled"`
}

// isPushRuleEnabled: spec: client-server API, GET pushrules/global/{kind}/{ruleId}/enabled.
func (a *API) isPushRuleEnabled(c *web.Call, tx *kv.ReadTx, in pushRuleIn) (isPushRuleEnabledOut, error) {
	rule, err := a.Push.Rule(tx, c.User, in.Kind, in.ID)
	return isPushRuleEnabledOut{rule.Enabled}, err
}

type setPushRuleEnabledIn struct {
	pushRuleIn
	Enabled bool `json:"enabled" required:"true"`
}

// setPushRuleEnabled: spec: client-server API, PUT pushrules/global/{kind}/{ruleId}/enabled.
func (a *API) setPushRuleEnabled(c *web.Call, tx *kv.WriteTx, in setPushRuleEnabledIn) (web.Empty, error) {
	return web.Empty{}, a.Push.SetEnabled(tx, c.User, in.Kind, in.ID, in.Enabled)
}

type pushRuleActionsOut struct {
	Actions json.RawMessage `json:"actions"`
}

// getPushRuleActions: spec: client-server API, GET pushrules/global/{kind}/{ruleId}/actions.
func (a *API) getPushRuleActions(c *web.Call, tx *kv.ReadTx, in pushRuleIn) (pushRuleActionsOut, error) {
	rule, err := a.Push.Rule(tx, c.User, in.Kind, in.ID)
	return pushRuleActionsOut{rule.Actions}, err
}

type setPushRuleActionsIn struct {
	pushRuleIn
	Actions json.RawMessage `json:"actions" required:"true"`
}

// setPushRuleActions: spec: client-server API, PUT pushrules/global/{kind}/{ruleId}/actions.
func (a *API) setPushRuleActions(c *web.Call, tx *kv.WriteTx, in setPushRuleActionsIn) (web.Empty, error) {
	return web.Empty{}, a.Push.SetActions(tx, c.User, in.Kind, in.ID, in.Actions)
}
