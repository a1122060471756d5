package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"porchlight/server"
	"porchlight/server/matrix"
)

type serveCmd struct {
	dataFlag
	nameFlag

	Listen    []string `help:"Address or port for HTTP; may be given several times." default:":8008" placeholder:"HOST:PORT"`
	PublicURL string   `name:"public-url" help:"Where clients reach the house, if not at the first address." placeholder:"URL"`

	Registration string   `help:"Who may make an account: closed, token (who has a registration token) or open." enum:"closed,token,open" default:"closed"`
	SharedSecret string   `name:"registration-shared-secret" help:"Offer /_synapse/admin/v1/register to tools that know this secret. Others on this machine can see it while the server runs: better given by its environment variable." placeholder:"SECRET"`
	RateLimits   string   `help:"Slow down who asks too much: on or off." enum:"on,off" default:"on"`
	TrustProxy   bool     `help:"Believe X-Forwarded-For. Only behind a proxy that sets it."`
	Private      bool     `name:"allow-private-networks" help:"Let what the house fetches lie in private networks."`
	Encryption   string   `name:"encryption-hint" help:"Tell clients to encrypt new rooms or not: on, off, or leave it to them." enum:",on,off" default:""`
	RoomVersion  string   `help:"Version of new rooms whose maker asks for none." placeholder:"N"`
	MaxUpload    byteSize `help:"Largest upload in bytes, or with a unit as 50M; 0 is the default of 50 MiB." default:"0" placeholder:"BYTES"`
	Appservices  string   `name:"appservices" help:"Folder of registration files (*.yaml) of bridges, read at the start." placeholder:"FOLDER"`
	LogLevel     string   `help:"How much to log: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`

	mediaFlags
	peopleFlags
	networkFlags
	pushFlags
	limitFlags
	boardFlags
}

type nameFlag struct {
	ServerName string `help:"What stands behind the colon of user IDs. Kept from the first start on; default: this machine's name." placeholder:"NAME"`
}

// boardFlags are about the board's own user and devices.
type boardFlags struct {
	pinFlags

	Board       string        `help:"Whether the board can be called: on or off." enum:"on,off" default:"on"`
	BoardUser   string        `help:"Name of the board's user." default:"porch" placeholder:"NAME"`
	BoardName   string        `help:"Display name of the board's user." default:"Porch" placeholder:"TEXT"`
	BoardAvatar string        `help:"Picture of the board's user." placeholder:"MXC-URI"`
	Allow       []string      `help:"User whose calls the board answers; may be given several times. Default: the owner." placeholder:"USER-ID"`
	AnswerAfter time.Duration `help:"How long the board lets a call ring." default:"0s"`
	CallPort    int           `help:"UDP and TCP port for calls; 0 takes any." default:"0" placeholder:"PORT"`
	Loopback    bool          `name:"call-loopback" help:"Offer loopback addresses for calls, too: for calls on this very machine."`
	Camera      string        `help:"auto, test, none, a device such as /dev/video0, or a command for the shell that writes video to its output: h264:COMMAND (Annex B) or mjpeg:COMMAND (JPEG pictures). It finds WIDTH, HEIGHT, FPS and BITRATE in its environment." default:"auto"`
	Microphone  string        `help:"auto, test, none, or a card such as hw:0,0." default:"auto"`
	Loudspeaker string        `help:"auto, meter, none, or a card such as hw:0,0." default:"auto"`
	Width       int           `name:"picture-width" help:"Width of the picture; 0 is 640." default:"0" placeholder:"PIXELS"`
	Height      int           `name:"picture-height" help:"Height of the picture; 0 is 480." default:"0" placeholder:"PIXELS"`
	FPS         int           `name:"picture-rate" help:"Pictures a second; 0 is 15." default:"0" placeholder:"N"`
	Bitrate     int           `name:"picture-bitrate" help:"Bits a second of the picture on a good line; 0 is 500,000." default:"0" placeholder:"N"`
	MinBitrate  int           `name:"picture-min-bitrate" help:"Bits a second below which the picture is not lowered on a bad line; 0 is 100,000." default:"0" placeholder:"N"`
	Playout     time.Duration `name:"playout-delay" help:"How long receivers may hold a picture back to smooth it; 0s is best on a cable, 100ms on Wi-Fi." default:"0s"`
}

func (b boardFlags) config() (server.BoardConfig, error) {
	c := server.BoardConfig{
		Off: b.Board == "off", User: b.BoardUser, Name: b.BoardName, Avatar: b.BoardAvatar, AnswerAfter: b.AnswerAfter,
		CallPort: b.CallPort, Loopback: b.Loopback, Camera: b.Camera, Microphone: b.Microphone, Loudspeaker: b.Loudspeaker,
		Width: b.Width, Height: b.Height, FPS: b.FPS, Bitrate: b.Bitrate, MinBitrate: b.MinBitrate,
		PlayoutDelay: b.Playout, Pins: b.pinFlags.config(),
	}
	for _, s := range b.Allow {
		user, err := matrix.ParseUserID(s)
		if err != nil {
			return c, err
		}
		c.Allow = append(c.Allow, user)
	}
	return c, nil
}

func (s *serveCmd) config() (server.Config, error) {
	board, err := s.boardFlags.config()
	if err != nil {
		return server.Config{}, err
	}
	people, err := s.peopleFlags.config()
	if err != nil {
		return server.Config{}, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return server.Config{}, err
	}
	return server.Config{
		Data: s.Data, ServerName: matrix.ServerName(s.ServerName), Listen: s.Listen,
		TLSCert: s.TLSCert, TLSKey: s.TLSKey, PublicURL: s.PublicURL, Network: s.networkFlags.config(),
		Registration: s.Registration, SharedSecret: s.SharedSecret,
		RateLimitsOff: s.RateLimits == "off", TrustProxy: s.TrustProxy, AllowPrivateNetworks: s.Private,
		Appservices: s.Appservices, EncryptionHint: s.Encryption, RoomVersion: s.RoomVersion, MaxUpload: int64(s.MaxUpload), Media: s.mediaFlags.config(), People: people, Board: board,
		Push: s.pushFlags.config(), Limits: s.limitFlags.config(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}, nil
}

// Run runs the house until it is told to stop. When the disk has refused a write, the process
// starts itself once more.
func (s *serveCmd) Run(ctx context.Context) (err error) {
	c, err := s.config()
	if err != nil {
		return err
	}
	slog.SetDefault(c.Log)
	c.AfterFault = faultedLately(os.Getenv(faultVariable), time.Now())
	c.RestartOnFault = !c.AfterFault
	err = serve(ctx, c)
	if c.RestartOnFault && errors.Is(err, server.ErrStorage) && ctx.Err() == nil {
		c.Log.Error("the server starts itself once more, to see what has reached the disk", "error", err)
		return restart(time.Now())
	}
	return err
}

func serve(ctx context.Context, c server.Config) (err error) {
	house, err := server.New(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, house.Close()) }()
	ran := make(chan error, 1)
	go func() { ran <- house.Run(ctx) }()
	select {
	case err := <-ran:
		return err
	case <-house.Ready():
	}
	for _, line := range house.Greeting() {
		fmt.Println(line)
	}
	return <-ran
}
