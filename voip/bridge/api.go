package bridge

import (
	"fmt"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	playoutDelayURI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	// telephoneEvent is DTMF. spec: MSC2746 add DTMF; RFC 4733
	telephoneEvent = "audio/telephone-event"
	// silenceTime is how long nothing at all may come of the peer until the connection counts
	// as lost, giveUpTime until it has failed.
	silenceTime = 4 * time.Second
	giveUpTime  = 30 * time.Second
	// keepAlive is how often the peer is asked whether it is still there.
	keepAlive = time.Second
	// hiddenWait is how long a path to an address that the peer has not told (yet), or that it
	// knows from a STUN server, waits for one to an address of its own: browsers hide theirs
	// behind names that take some time to look up, and the address is the same.
	hiddenWait = 100 * time.Millisecond
)

// newAPI is what all peer connections share: ports, codecs and what goes with RTP.
func newAPI(cfg Config, p *ports, e *estimators) (*webrtc.API, error) {
	var settings webrtc.SettingEngine
	settings.LoggerFactory = p.factory
	settings.SetNetworkTypes([]webrtc.NetworkType{
		webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6,
	})
	settings.SetICEUDPMux(p)
	if p.tcpMux != nil {
		settings.SetICETCPMux(p.tcpMux)
	}
	// The peer opens TCP to us, never the other way: a candidate must not make the
	// board connect to whatever service it names.
	settings.DisableActiveTCP(true)
	settings.SetIncludeLoopbackCandidate(cfg.Loopback)
	settings.SetInterfaceFilter(p.useInterface)
	settings.SetIPFilter(p.useIP)
	// Browsers hide their address behind a .local name, which we look up; the
	// board has nothing to hide from its own network.
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeQueryOnly)
	machine, err := newMachineNet()
	if err != nil {
		return nil, fmt.Errorf("bridge: asking for the machine's network: %w", err)
	}
	settings.SetNet(machine)
	if cfg.net != nil {
		settings.SetNet(cfg.net)
		settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled) // it has no such names
	}
	settings.SetICEBindingRequestHandler(p.paths.switches)
	settings.SetICETimeouts(silenceTime, giveUpTime-silenceTime, keepAlive)
	settings.SetPrflxAcceptanceMinWait(hiddenWait)
	settings.SetSrflxAcceptanceMinWait(hiddenWait)
	// The end of a call is said by its events; the connection may only break.
	settings.DisableCloseByDTLS(true)
	// An answer need not say under which SSRC its author sends; nheko's does not if its
	// microphone is slow to start. What comes then belongs where its payload type is offered.
	// spec: RFC 9143 9.2
	settings.SetHandleUndeclaredSSRCWithoutAnswer(true)

	var media webrtc.MediaEngine
	if err := registerCodecs(&media); err != nil {
		return nil, fmt.Errorf("bridge: registering codecs: %w", err)
	}
	var registry interceptor.Registry
	for _, configure := range []func(*webrtc.MediaEngine, *interceptor.Registry) error{
		func(_ *webrtc.MediaEngine, r *interceptor.Registry) error { r.Add(e); return nil },
		webrtc.ConfigureTWCCHeaderExtensionSender,
		func(m *webrtc.MediaEngine, r *interceptor.Registry) error {
			return webrtc.ConfigureNackWithOptions(m, r,
				[]nack.GeneratorOption{nack.WithGeneratorLoggerFactory(p.factory)}, nack.WithResponderLoggerFactory(p.factory))
		},
		func(m *webrtc.MediaEngine, r *interceptor.Registry) error {
			return webrtc.ConfigureTWCCSenderWithOptions(m, r, twcc.WithLoggerFactory(p.factory))
		},
		func(_ *webrtc.MediaEngine, r *interceptor.Registry) error { return webrtc.ConfigureRTCPReports(r) },
	} {
		if err := configure(&media, &registry); err != nil {
			return nil, fmt.Errorf("bridge: setting up RTP: %w", err)
		}
	}
	return webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(&media),
		webrtc.WithInterceptorRegistry(&registry)), nil
}

func registerCodecs(m *webrtc.MediaEngine) error {
	audio := func(pt webrtc.PayloadType, mime string, clock uint32, channels uint16, fmtp string) error {
		return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: clock, Channels: channels, SDPFmtpLine: fmtp,
		}}, webrtc.RTPCodecTypeAudio)
	}
	video := func(pt webrtc.PayloadType, mime, fmtp string) error {
		return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "goog-remb"}, {Type: "ccm", Parameter: "fir"}},
		}}, webrtc.RTPCodecTypeVideo)
	}
	// Lost packets are repeated in a stream of their own, if the peer can do so. RFC 4588
	repeated := func(pt, of webrtc.PayloadType) error {
		return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", of),
		}}, webrtc.RTPCodecTypeVideo)
	}
	extension := func(uri string, kind webrtc.RTPCodecType) error {
		return m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind)
	}
	for _, err := range []error{
		audio(111, webrtc.MimeTypeOpus, 48000, 2, "minptime=10;useinbandfec=1;usedtx=1"),
		audio(0, webrtc.MimeTypePCMU, 8000, 0, ""),
		audio(8, webrtc.MimeTypePCMA, 8000, 0, ""),
		audio(110, telephoneEvent, 48000, 0, "0-15"),
		audio(101, telephoneEvent, 8000, 0, "0-15"),
		video(96, webrtc.MimeTypeVP8, ""),
		video(102, webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
		repeated(97, 96),
		repeated(103, 102),
		extension(sdp.SDESMidURI, webrtc.RTPCodecTypeAudio),
		extension(sdp.SDESMidURI, webrtc.RTPCodecTypeVideo),
		extension(playoutDelayURI, webrtc.RTPCodecTypeVideo),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
