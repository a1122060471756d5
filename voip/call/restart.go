package call

// lost hears that media has stopped coming. It may come back by itself; if it does not
// soon, ICE is restarted.
func (m *machine) lost() {
	if m.phase != Active || m.timerArmed[TimerReconnect] {
		return
	}
	m.set(TimerReconnect, ReconnectTime)
	if !m.negotiable() || m.timerArmed[TimerRestart] {
		return
	}
	if m.cfg.Role == Caller {
		m.set(TimerRestart, CallerPatience)
	} else {
		m.set(TimerRestart, CalleePatience)
	}
}

// pathLost hears that media cannot come back as it was, so that there is nothing to wait
// for.
func (m *machine) pathLost() {
	if m.phase != Active || !m.negotiable() {
		return
	}
	if !m.timerArmed[TimerReconnect] {
		m.set(TimerReconnect, ReconnectTime)
	}
	m.restart()
}

// restart looks for a new path. An offer that is under way is waited for: it cannot be
// replaced by another. ReconnectTime bounds all of it.
//
// spec: MSC2746 introduce m.call.negotiate: ICE restarts
func (m *machine) restart() {
	switch {
	case m.phase != Active || !m.negotiable():
		return
	case m.restarts >= MaxRestarts:
		m.note("the connection was lost, and looking for another one has been in vain")
		return
	}
	m.set(TimerRestart, RestartTime)
	if m.offering || m.wantsOffer || m.answersDue > 0 {
		return
	}
	m.restarts++
	m.wantsOffer = true
	m.emit(CreateOffer{ICERestart: true})
}

// restartGoesOn gives a restart its time when both sides have described themselves.
func (m *machine) restartGoesOn() {
	if m.timerArmed[TimerRestart] {
		m.set(TimerRestart, RestartTime)
	}
}
