package accounts

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
)

// commonText are passwords that are guessed first, one a line, in small letters: the ones of
// eight letters and more that stand in every list of those that were stolen.
//
//go:embed common_passwords.txt
var commonText string

var commonPasswords = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(commonText) {
		all[strings.TrimSpace(line)] = true
	}
	return all
})

// isCommon says whether a password is one of those that are guessed first: of the list, with
// digits or signs around it or not, one letter again and again, or a row of the keyboard.
func isCommon(password string) bool {
	plain := strings.ToLower(password)
	letters := strings.TrimFunc(plain, func(c rune) bool { return !unicode.IsLetter(c) })
	if commonPasswords()[plain] || commonPasswords()[letters] {
		return true
	}
	for _, row := range []string{"01234567890123456789", "98765432109876543210", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn"} {
		if strings.Contains(row, plain) {
			return true
		}
	}
	// At most two different parts of one length: "aaaaaaaa", "abababab", "12341234".
	for n := 1; n <= len(plain)/2; n++ {
		if len(plain)%n == 0 && strings.Repeat(plain[:n], len(plain)/n) == plain && n <= maxRepeated {
			return true
		}
	}
	return false
}

// maxRepeated is how long a part is that makes no good password when repeated.
const maxRepeated = 4

// namesUser says whether a password is a user's name with little around it.
func namesUser(password, localpart string) bool {
	plain, name := strings.ToLower(password), strings.ToLower(localpart)
	if len(name) < minNameInPassword || !strings.Contains(plain, name) {
		return false
	}
	return len(plain)-len(name) < MinPasswordBytes
}

// minNameInPassword is the shortest user name, in bytes, that a password must not be made of:
// shorter ones stand in many words by chance.
const minNameInPassword = 3
