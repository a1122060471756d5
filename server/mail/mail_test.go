package mail_test

import (
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"porchlight/server/mail"
	"porchlight/server/mail/mailtest"
)

func sender(t *testing.T, r *mailtest.Relay, security mail.Security, user, password string) *mail.Sender {
	t.Helper()
	s, err := mail.New(mail.Config{
		Host: r.Host, Port: r.Port, Security: security, User: user, Password: password, RootCAs: r.RootCAs,
		From: `"The house, number 7" <house@home.test>`, Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSend(t *testing.T) {
	message := mail.Message{To: "ann@example.com", Subject: "Grüße", Text: "Hällo,\n.\n" + strings.Repeat("long ", 40) + "\n"}
	for _, tt := range []struct {
		name     string
		start    func(testing.TB) *mailtest.Relay
		security mail.Security
		secure   bool
	}{
		{"without protection", mailtest.Start, mail.Plain, false},
		{"STARTTLS", mailtest.StartTLS, mail.STARTTLS, true},
		{"TLS", mailtest.StartWrapped, mail.TLS, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			relay := tt.start(t)
			relay.Demand("me", "secret")
			if err := sender(t, relay, tt.security, "me", "secret").Send(t.Context(), message); err != nil {
				t.Fatal(err)
			}
			got := relay.Mails()[0]
			if got.From != "house@home.test" || got.To != "ann@example.com" || got.Secure != tt.secure {
				t.Errorf("%+v", got)
			}
			m, err := netmail.ReadMessage(strings.NewReader(got.Data))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if subject != "Grüße" || err != nil {
				t.Errorf("subject %q %v", subject, err)
			}
			text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
			if string(text) != message.Text || err != nil {
				t.Errorf("text %q %v", text, err)
			}
			if _, err := m.Header.Date(); err != nil || m.Header.Get("Message-ID") == "" {
				t.Errorf("header %v %v", m.Header, err)
			}
		})
	}
}

func TestSendRefused(t *testing.T) {
	ok := mail.Message{To: "ann@example.com", Subject: "s", Text: "t"}
	t.Run("wrong password", func(t *testing.T) {
		relay := mailtest.Start(t)
		relay.Demand("me", "secret")
		expect(t, sender(t, relay, mail.Plain, "me", "wrong").Send(t.Context(), ok), "log in")
	})
	t.Run("no STARTTLS", func(t *testing.T) {
		expect(t, sender(t, mailtest.Start(t), mail.STARTTLS, "", "").Send(t.Context(), ok), "protect")
	})
	t.Run("certificate of nobody", func(t *testing.T) {
		relay := mailtest.StartTLS(t)
		relay.RootCAs = nil
		expect(t, sender(t, relay, mail.STARTTLS, "", "").Send(t.Context(), ok), "protect")
	})
	t.Run("refused address", func(t *testing.T) {
		relay := mailtest.Start(t)
		relay.Refuse(true)
		expect(t, sender(t, relay, mail.Plain, "", "").Send(t.Context(), ok), "refused the address")
	})
	t.Run("bad addresses", func(t *testing.T) {
		relay := mailtest.Start(t)
		for _, to := range []string{"", "ann", "Ann <ann@example.com>", "a@b\r\nBcc: c@d", "a@b, c@d", strings.Repeat("a", 250) + "@b.test"} {
			expect(t, sender(t, relay, mail.Plain, "", "").Send(t.Context(), mail.Message{To: to}), "address")
		}
		if n := len(relay.Mails()); n > 0 {
			t.Errorf("%d mails", n)
		}
	})
}

func expect(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one with %q", err, part)
	}
}

func TestNew(t *testing.T) {
	for _, c := range []mail.Config{
		{From: "a@b"},
		{Host: "relay.test"},
		{Host: "relay.test", From: "nobody"},
		{Host: "relay.test", From: "a@b", Security: "rot13"},
	} {
		if _, err := mail.New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	for security, port := range map[mail.Security]int{"": 587, mail.STARTTLS: 587, mail.TLS: 465, mail.Plain: 25} {
		if s, err := mail.New(mail.Config{Host: "relay.test", From: "a@b", Security: security}); err != nil || s.Port != port {
			t.Errorf("%q: %v", security, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b", "ä@ö.test", `"a b"@c`, "a@b\n", "<a@b>", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := mail.ParseAddress(s); err == nil && (a != s || strings.ContainsAny(a, "\r\n\x00")) {
			t.Errorf("%q became %q", s, a)
		}
	})
}
