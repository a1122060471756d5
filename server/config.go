package server

import (
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"porchlight/server/accounts"
	"porchlight/server/clientapi"
	"porchlight/server/mail"
	"porchlight/server/matrix"
	"porchlight/server/roomver"
	"porchlight/server/web"
	"porchlight/voip/gpio"
)

// Config says what house to run. The zero value of each field is its default.
type Config struct {
	// Data is the folder that holds everything; it is made if it is not there.
	Data string
	// ServerName is the part behind the colon of the users' IDs, kept from the first start
	// on; empty at the first start: the machine's name.
	ServerName matrix.ServerName
	// Listen are the addresses for HTTP; empty: ":8008".
	Listen []string
	// TLSCert and TLSKey are files in PEM, in place of certificates of the house's own; both
	// or none.
	TLSCert, TLSKey string
	// PublicURL is where clients reach the house; empty: made of the first address.
	PublicURL string
	// Registration is who may make an account: "closed", "token" or "open".
	Registration string
	// SharedSecret offers the registration form of provisioning tools; empty: it is off.
	SharedSecret string
	// RateLimitsOff answers however fast requests come.
	RateLimitsOff bool
	// Limits bounds what others take of the machine.
	Limits Limits
	// TrustProxy believes X-Forwarded-For; only behind a proxy that sets it.
	TrustProxy bool
	// AllowPrivateNetworks lets what the house fetches lie in private networks.
	AllowPrivateNetworks bool
	// RoomVersion is for rooms whose maker asks for none; empty: roomver.Default.
	RoomVersion string
	// MaxUpload is the largest upload in bytes; 0: media's default.
	MaxUpload int64
	// Media is what else there is to say of uploads and previews.
	Media MediaConfig
	// People is about accounts and those who have them.
	People PeopleConfig
	// EncryptionHint is what well-known tells clients about encrypting new rooms: "on", "off",
	// or nothing if empty.
	EncryptionHint string
	// Hashing is the cost of password hashes; zero: the default of accounts.
	Hashing accounts.HashCost
	// Network is how devices nearby find, trust and reach the house.
	Network NetworkConfig
	// Push is how people are told of what they miss.
	Push PushConfig
	// Board is the board's own user and its devices.
	Board BoardConfig
	// Appservices is a folder whose files (*.yaml, *.yml) are registrations of application
	// services, read at the start; empty: none.
	Appservices string

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
	// OnInternalError hears of every 500; test servers fail the test.
	OnInternalError func(err error, reference string)

	// dataOnly opens the keepers without doors or devices.
	dataOnly bool
	// existing opens only a server that has been founded.
	existing bool

	// RestartOnFault has Run return ErrStorage when the disk refuses or may have lost a write,
	// so that the caller starts the process once more. Otherwise what can be read is served on.
	RestartOnFault bool
	// AfterFault says that the process was started for that a short time ago: the disk is tried
	// at once, and if it takes no writes, the server only reads.
	AfterFault bool
}

// Limits bounds what others take of the machine, so that nothing they send brings a board with
// 512 MB down. A field of 0 is its default.
type Limits struct {
	// RequestLimits is about connections, and what is in memory for requests.
	RequestLimits
	// Reserve is how many bytes of the disk are kept for the owner, for calls and for what
	// gives room back; 0: DefaultReserve; negative: none.
	Reserve int64
	// RoomState is how many bytes the state of a room may have, AccountData those of a user in
	// all, Inbox the messages that wait for a device, KeyBackup the keys of a backup; 0: the
	// defaults of rooms, accounts and e2ee; negative: any number. What is more at the upgrade
	// stays, and can be read and removed.
	RoomState, AccountData, Inbox, KeyBackup int64
	// Devices is how many devices a user may have; 0: accounts.MaxDevices.
	Devices int
}

// check refuses what cannot be.
func (l *Limits) check() error {
	for name, n := range map[string]int64{
		"connections": int64(l.Connections), "connections of one address": int64(l.PerAddress),
		"bytes of request bodies": l.Bodies, "bytes of answers": l.Answers, "devices": int64(l.Devices),
	} {
		if n < 0 {
			return fmt.Errorf("the limit of %s cannot be %d", name, n)
		}
	}
	return nil
}

// MediaConfig bounds the content repository.
type MediaConfig struct {
	UserQuota  int64 // bytes that one user may keep; 0: any number
	TotalQuota int64 // bytes that all may keep together; 0: any number
	MinFree    int64 // bytes that uploads leave free on the disk; 0: media's default
	// VolumeBytes is how large a file of contents gets; 0: media's default.
	VolumeBytes int64
	// Open lets what is uploaded from now on be downloaded without an access token, too.
	Open bool
	// Elsewhere is the address of a CDN or object store that has all media; empty: none.
	Elsewhere string
	// PreviewsOff fetches no pages for previews.
	PreviewsOff bool
	// ThumbnailAge and PreviewAge are how long those are kept; 0: media's defaults.
	ThumbnailAge, PreviewAge time.Duration
}

// BoardConfig is the board as somebody who can be called.
type BoardConfig struct {
	Off bool // there is no such user
	// User is the localpart of its user ID; empty: "porch".
	User string
	// Name is its display name; empty: "Porch".
	Name string
	// Avatar is its picture, a content URI ("mxc://…"); empty: none.
	Avatar string
	// Network says whether the machine has its network now; nil: it is looked at.
	Network func() bool
	// Allow are the users whose calls it answers; empty: the owner of the house.
	Allow []matrix.UserID
	// AnswerAfter is how long it lets a call ring first.
	AnswerAfter time.Duration
	// CallPort is the UDP and TCP port for calls; 0: any free one.
	CallPort int
	// Loopback offers the loopback addresses, too; for tests.
	Loopback bool
	// Camera, Microphone and Loudspeaker choose devices; empty: "auto".
	Camera, Microphone, Loudspeaker string
	// Pins are the lines of the ring button, the light and the door's relay.
	Pins BoardPins
	// Width, Height in pixels, FPS and Bitrate in bits per second of the picture; 0: the
	// default of voip/device.
	Width, Height, FPS, Bitrate int
	// MinBitrate is what a bad line does not lower the picture below, in bits per second; 0:
	// the default of voip/bridge.
	MinBitrate int
	// PlayoutDelay is how long receivers may hold a picture back to smooth it.
	PlayoutDelay time.Duration
}

// What the configuration is made of that others define; the commands import only this
// package.
type (
	BoardPins    = gpio.Config
	MailConfig   = mail.Config
	MailSecurity = mail.Security
	Contact      = clientapi.Contact
	Support      = clientapi.Support
	// RequestLimits bounds connections and the memory of requests.
	RequestLimits = web.Limits
)

// PeopleConfig is about accounts and those who have them.
type PeopleConfig struct {
	Guests bool // anybody may make a guest's account
	// GuestLife is how long a guest's account is kept that nobody uses, while there are
	// guests at all; 0: accounts.DefaultGuestLife.
	GuestLife time.Duration
	// TermsFile holds the policies that whoever makes an account accepts, as JSON in the form
	// of accounts.ParseTerms; empty: there are none.
	TermsFile string
	// Mail is the relay for mails; without a host, addresses cannot be validated.
	Mail MailConfig
	// RegistrationEmail says whether an address is asked of whoever makes an account: "off",
	// "optional" (also if empty) or "required".
	RegistrationEmail string
	// NextLinkHosts are where links in mails may lead on to; empty: anywhere.
	NextLinkHosts []string
	// Directory is whom the user directory finds: "all", or "shared" for who can be met in
	// rooms; empty: all, unless registration is open.
	Directory string
	// Support is what well-known tells of who runs the house.
	Support Support
	// PolicyKey is the public key of the owner's policy server, in unpadded base64; empty: none.
	PolicyKey string
	// LoginTokenLife is how long a login token lasts, LoginTokenEvery how long a user waits
	// for the next one; 0: the defaults of accounts.
	LoginTokenLife, LoginTokenEvery time.Duration
	// AccessTokenLife is how long an access token lasts whose client can refresh it; 0: the
	// default of accounts.
	AccessTokenLife time.Duration
}

// check refuses what cannot be.
func (p *PeopleConfig) check(publicURL string) error {
	switch p.RegistrationEmail {
	case "", "off", "optional", "required":
	default:
		return fmt.Errorf("an address at registration is off, optional or required, not %q", p.RegistrationEmail)
	}
	switch p.Directory {
	case "", "all", "shared":
	default:
		return fmt.Errorf("the user directory finds all or shared, not %q", p.Directory)
	}
	if p.AccessTokenLife < 0 {
		return fmt.Errorf("an access token cannot last for %v", p.AccessTokenLife)
	}
	if p.Mail.Host == "" && p.RegistrationEmail == "required" {
		return errors.New("addresses cannot be required without a mail relay")
	}
	if p.Mail.Host != "" && publicURL == "" {
		return errors.New("mails need the public URL, for the links in them")
	}
	if p.PolicyKey != "" {
		if key, err := base64.RawStdEncoding.DecodeString(p.PolicyKey); err != nil || len(key) != ed25519.PublicKeySize {
			return errors.New("the policy server's key is no Ed25519 key in unpadded base64")
		}
	}
	return nil
}

// terms reads the policies; nil if there are none.
func (p *PeopleConfig) terms() (*accounts.Terms, error) {
	if p.TermsFile == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(p.TermsFile)
	if err != nil {
		return nil, err
	}
	t, err := accounts.ParseTerms(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.TermsFile, err)
	}
	return t, nil
}

// DefaultListen is where the house listens when nobody says otherwise.
const DefaultListen = ":8008"

// The ways of making an account.
const (
	RegistrationClosed = "closed"
	RegistrationToken  = "token"
	RegistrationOpen   = "open"
)

// fill sets the defaults and checks the rest.
func (c *Config) fill() error {
	if c.Data == "" {
		return errors.New("a folder for the data is needed")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{DefaultListen}
	}
	c.Listen = withHosts(c.Listen)
	switch c.Registration {
	case "":
		c.Registration = RegistrationClosed
	case RegistrationClosed, RegistrationToken, RegistrationOpen:
	default:
		return fmt.Errorf("registration is closed, token or open, not %q", c.Registration)
	}
	switch c.EncryptionHint {
	case "", "on", "off":
	default:
		return fmt.Errorf("the hint about encryption is on or off, not %q", c.EncryptionHint)
	}
	if err := c.People.check(c.PublicURL); err != nil {
		return err
	}
	if err := c.Push.check(); err != nil {
		return err
	}
	if err := c.Limits.check(); err != nil {
		return err
	}
	if at := c.Media.Elsewhere; at != "" {
		if u, err := url.Parse(at); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("%q is no address that media could be had at", at)
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("a TLS certificate and its key go together")
	}
	if err := c.Network.fill(c.TLSCert != ""); err != nil {
		return err
	}
	if c.RoomVersion != "" {
		if _, ok := roomver.Get(c.RoomVersion); !ok {
			return fmt.Errorf("there is no room version %q", c.RoomVersion)
		}
	}
	if c.Board.User == "" {
		c.Board.User = "porch"
	}
	if !matrix.ValidLocalpart(c.Board.User) {
		return fmt.Errorf("the board's user cannot be called %q", c.Board.User)
	}
	if c.Board.Name == "" {
		c.Board.Name = "Porch"
	}
	return nil
}

// withHosts makes addresses of bare ports, which people write for all addresses of the machine.
func withHosts(addresses []string) []string {
	all := slices.Clone(addresses)
	for i, addr := range all {
		if _, err := strconv.ParseUint(addr, 10, 16); err == nil {
			all[i] = ":" + addr
		}
	}
	return all
}

// dbFile is the file of all rows but media.
func (c *Config) dbFile() string { return filepath.Join(c.Data, dbName) }

const dbName = "porchlight.db"

// mediaFolder has the files of what people uploaded.
func (c *Config) mediaFolder() string { return filepath.Join(c.Data, mediaName) }

const (
	mediaName = "media"
	// oldMediaName is where the first houses kept what people uploaded.
	oldMediaName = "media.db"
)

// publicURL is where clients reach the house, without a slash at the end.
func (c *Config) publicURL(listening net.Addr) string {
	if c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	const scheme = "http"
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return scheme + "://" + listening.String()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
		if a := lanAddress(); a != "" {
			host = a
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// machineName is the server name for who chose none: this machine's, as it is called in
// the local network.
func machineName() matrix.ServerName {
	host, err := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if err != nil || host == "" || host == "localhost" {
		host = "porchlight"
	}
	if name, err := matrix.ParseServerName(host + ".local"); err == nil {
		return name
	}
	return "porchlight.local"
}

// lanAddress is an address of this machine that others in the house can reach, or "".
func lanAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	best := ""
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok || ipnet.IP.IsLoopback() || ipnet.IP.IsLinkLocalUnicast() {
			continue
		}
		if ipnet.IP.To4() != nil {
			return ipnet.IP.String()
		}
		if best == "" {
			best = ipnet.IP.String()
		}
	}
	return best
}

// guestLife is how long guests are kept that nobody is any more; 0: for ever, as where
// there should be none, nobody is closed unasked.
func (c PeopleConfig) guestLife() time.Duration {
	if !c.Guests {
		return 0
	}
	return cmp.Or(c.GuestLife, accounts.DefaultGuestLife)
}
