package agent

import (
	"fmt"
	"strings"

	"porchlight/server/matrix"
)

// fullNames writes a list of users in full: "ann, @bob:home" becomes "@ann:home @bob:home".
func fullNames(text string, server matrix.ServerName) (string, error) {
	words := strings.FieldsFunc(text, separator)
	for i, word := range words {
		user, err := fullName(word, server)
		if err != nil {
			return "", err
		}
		words[i] = string(user)
	}
	return strings.Join(words, " "), nil
}

// namesInRules does so in rules such as "ann=now audio; *=never".
func namesInRules(text string, server matrix.ServerName) (string, error) {
	rules := strings.Split(text, ";")
	for i, rule := range rules {
		who, how, ok := strings.Cut(rule, "=")
		if who = strings.TrimSpace(who); !ok || who == "*" || who == "" {
			continue
		}
		user, err := fullName(who, server)
		if err != nil {
			return "", err
		}
		rules[i] = string(user) + "=" + how
	}
	return strings.Join(rules, ";"), nil
}

// fullName is the user of a word: a whole ID of this server's, or only the name in it.
func fullName(word string, server matrix.ServerName) (matrix.UserID, error) {
	name, there, whole := strings.Cut(strings.TrimPrefix(word, "@"), ":")
	if whole && there != string(server) {
		return "", fmt.Errorf("%q is a user of another server; those of this one are called like @%s:%s", word, name, server)
	}
	user, err := matrix.ParseUserID("@" + name + ":" + string(server))
	if err != nil {
		return "", fmt.Errorf("%q is no user: it looks like ann or @ann:%s", word, server)
	}
	return user, nil
}
