package main

import "porchlight/server"

// networkFlags are about how devices nearby find, trust and reach the house.
type networkFlags struct {
	ListenHTTPS []string `name:"listen-https" help:"Address for HTTPS; may be given several times, and empty is none." default:":8443" placeholder:"HOST:PORT"`
	TLSCert     string   `name:"tls-cert" help:"Certificate chain in PEM, in place of the house's own authority." type:"existingfile" placeholder:"FILE"`
	TLSKey      string   `name:"tls-key" help:"Private key in PEM." type:"existingfile" placeholder:"FILE"`
	LocalName   string   `help:"Answer to this name in the network, without .local; auto is what the server name says, empty is no name." default:"auto" placeholder:"NAME"`
	Turn        string   `help:"Relay calls that find no direct way: on or off." enum:"on,off" default:"on"`
	TurnPort    int      `help:"UDP and TCP port of that relay; 0 takes any." default:"3478" placeholder:"PORT"`
}

func (f networkFlags) config() server.NetworkConfig {
	return server.NetworkConfig{ListenHTTPS: f.ListenHTTPS, LocalName: f.LocalName, Turn: f.Turn == "on", TurnPort: f.TurnPort}
}
