package roomver

import (
	"fmt"
	"reflect"
	"testing"
)

// firstAndLast is, for every yes-or-no question, the first and the last version
// that answers yes.
var firstAndLast = map[string][2]int{
	"Stable":                        {1, 12},
	"HashedReferences":              {1, 2},
	"EventIDServerSigns":            {1, 2},
	"RedactionAuthRule":             {1, 2},
	"AliasesAuthRule":               {1, 5},
	"EnforceSigningKeyValidity":     {5, 12},
	"StrictCanonicalJSON":           {6, 12},
	"LimitNotificationsPowerLevels": {6, 12},
	"Knock":                         {7, 12},
	"Restricted":                    {8, 12},
	"RedactionKeepsJoinAuthoriser":  {9, 12},
	"KnockRestricted":               {10, 12},
	"IntegerPowerLevels":            {10, 12},
	"ImplicitRoomCreator":           {11, 12},
	"UpdatedRedactionRules":         {11, 12},
	"RedactsInContent":              {11, 12},
	"RoomIDIsHash":                  {12, 12},
	"PrivilegedCreators":            {12, 12},
	"AuthEventsWithoutCreate":       {12, 12},
}

func TestQuestions(t *testing.T) {
	all := All()
	if len(all) != 12 {
		t.Fatalf("%d versions", len(all))
	}
	asked := 0
	for i, v := range all {
		number := i + 1
		if got, ok := Get(fmt.Sprint(number)); !ok || got != v {
			t.Errorf("Get(%d) = %v, %v", number, got, ok)
		}
		fields := reflect.ValueOf(v)
		for f := range fields.NumField() {
			if fields.Field(f).Kind() != reflect.Bool {
				continue
			}
			asked++
			name := fields.Type().Field(f).Name
			span := firstAndLast[name]
			if got, want := fields.Field(f).Bool(), number >= span[0] && number <= span[1]; got != want {
				t.Errorf("version %d: %s is %v", number, name, got)
			}
		}
	}
	if asked != len(all)*len(firstAndLast) {
		t.Errorf("the test knows %d questions", len(firstAndLast))
	}
}

func TestFormats(t *testing.T) {
	for i, v := range All() {
		number := i + 1
		wantID, wantRes, wantDepth := EventIDURLSafe, StateResolution2, int64(1<<53-1)
		switch {
		case number <= 2:
			wantID = EventIDGiven
		case number == 3:
			wantID = EventIDBase64
		}
		switch number {
		case 1:
			wantRes = StateResolution1
		case 12:
			wantRes = StateResolution21
		}
		if number < 6 {
			wantDepth = 1<<63 - 1
		}
		if v.EventID != wantID || v.StateResolution != wantRes || v.MaxDepth() != wantDepth {
			t.Errorf("version %d: %v, %v, %v", number, v.EventID, v.StateResolution, v.MaxDepth())
		}
	}
}

func TestGetUnknown(t *testing.T) {
	for _, id := range []string{"", "0", "13", "01", "org.example.mine"} {
		if v, ok := Get(id); ok {
			t.Errorf("Get(%q) = %v", id, v)
		}
	}
	if _, ok := Get(Default); !ok {
		t.Error("the default version is not known")
	}
}
