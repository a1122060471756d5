package main

import (
	"fmt"
	"strings"
	"time"

	"porchlight/server"
	"porchlight/server/matrix"
)

// peopleFlags are about accounts and those who have them.
type peopleFlags struct {
	Guests       string        `help:"Let anybody make a guest's account: on or off." enum:"on,off" default:"off"`
	GuestLife    time.Duration `name:"guest-life" help:"How long a guest's account is kept that nobody uses." default:"720h"`
	Terms        string        `help:"File with the policies that whoever makes an account has to accept, as JSON." type:"existingfile" placeholder:"FILE"`
	Directory    string        `name:"user-directory" help:"Whom people find: all, or shared for who can be met in rooms. Default: all, unless registration is open." enum:",all,shared" default:""`
	LoginLife    time.Duration `name:"login-token-life" help:"How long a code lasts by which a signed-in client signs in another." default:"2m"`
	LoginEvery   time.Duration `name:"login-token-every" help:"How long a user waits for the next such code." default:"1m"`
	Contact      []string      `name:"support-contact" help:"Whom people may turn to: a user ID or an e-mail address, or ROLE=CONTACT; may be given several times." placeholder:"CONTACT"`
	SupportPage  string        `help:"Web page where people find help." placeholder:"URL"`
	PolicyKey    string        `name:"policy-server-key" help:"Public Ed25519 key of this domain's policy server, if there is one." placeholder:"BASE64"`
	SMTPHost     string        `name:"smtp-host" help:"Relay for e-mails; without one, addresses cannot be validated. Needs --public-url." placeholder:"HOST"`
	SMTPPort     int           `name:"smtp-port" help:"Port of the relay; 0 is the usual one." default:"0" placeholder:"PORT"`
	SMTPSecurity string        `name:"smtp-security" help:"How the connection to the relay is protected: starttls, tls or none." enum:"starttls,tls,none" default:"starttls"`
	SMTPUser     string        `name:"smtp-user" help:"Name at the relay; empty if it asks for none." placeholder:"NAME"`
	SMTPPassword string        `name:"smtp-password" help:"Password at the relay. Better given by its environment variable." placeholder:"TEXT"`
	SMTPFrom     string        `name:"smtp-from" help:"Sender of the e-mails." placeholder:"ADDRESS"`
	Email        string        `name:"registration-email" help:"Whether an e-mail address is asked of whoever makes an account: off, optional or required." enum:"off,optional,required" default:"optional"`
	NextLink     []string      `name:"next-link-host" help:"Host that links in e-mails may lead on to; may be given several times. Default: any." placeholder:"HOST"`
}

func (p peopleFlags) config() (server.PeopleConfig, error) {
	c := server.PeopleConfig{
		Guests: p.Guests == "on", GuestLife: p.GuestLife, TermsFile: p.Terms, RegistrationEmail: p.Email, NextLinkHosts: p.NextLink,
		Directory: p.Directory, PolicyKey: p.PolicyKey, LoginTokenLife: p.LoginLife, LoginTokenEvery: p.LoginEvery,
		Mail: server.MailConfig{
			Host: p.SMTPHost, Port: p.SMTPPort, Security: server.MailSecurity(p.SMTPSecurity),
			User: p.SMTPUser, Password: p.SMTPPassword, From: p.SMTPFrom,
		},
	}
	c.Support.Page = p.SupportPage
	for _, s := range p.Contact {
		contact, err := parseContact(s)
		if err != nil {
			return c, err
		}
		c.Support.Contacts = append(c.Support.Contacts, contact)
	}
	return c, nil
}

// parseContact reads "@user:host", "name@host", either with "role=" before it.
func parseContact(s string) (server.Contact, error) {
	c := server.Contact{Role: "m.role.admin"}
	if role, rest, ok := strings.Cut(s, "="); ok && !strings.Contains(role, "@") {
		c.Role, s = role, rest
	}
	if strings.HasPrefix(s, "@") {
		user, err := matrix.ParseUserID(s)
		c.User = user
		return c, err
	}
	if !strings.Contains(s, "@") {
		return c, fmt.Errorf("the contact %q is neither a user ID nor an e-mail address", s)
	}
	c.Email = s
	return c, nil
}
