package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// takeSettings heeds the client's settings (RFC 9113 §6.5). Of a setting that comes several times only the last value is put to work:
// what a frame costs us must not be its length times the number of streams.
func (c *Conn) takeSettings(f frame, p []byte) error {
	switch {
	case f.id != 0:
		return &ConnError{http2.ErrCodeProtocol, "SETTINGS on a stream"}
	case len(p)%settingBytes != 0 || f.flags.Has(http2.FlagSettingsAck) && len(p) > 0:
		return &ConnError{http2.ErrCodeFrameSize, "SETTINGS"}
	case f.flags.Has(http2.FlagSettingsAck):
		return c.pay()
	}
	c.settled = true
	c.mu.Lock()
	defer c.mu.Unlock()
	window := c.peerWindow
	for ; len(p) > 0; p = p[settingBytes:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch http2.SettingID(binary.BigEndian.Uint16(p)) {
		case http2.SettingHeaderTableSize:
			if c.enc != nil || value < tableSize {
				c.encoder().resize(value)
			}
		case http2.SettingEnablePush:
			if value > 1 {
				return &ConnError{http2.ErrCodeProtocol, "SETTINGS_ENABLE_PUSH"}
			}
		case http2.SettingInitialWindowSize:
			if value > maxWindow {
				return &ConnError{http2.ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE"}
			}
			window = int64(value)
		case http2.SettingMaxFrameSize:
			if value < maxFrame || value > 1<<24-1 {
				return &ConnError{http2.ErrCodeProtocol, "SETTINGS_MAX_FRAME_SIZE"}
			}
			// Longer frames than the default we do not send.
		}
	}
	if change := window - c.peerWindow; change != 0 {
		c.peerWindow = window
		for _, s := range c.streams {
			if s.sendWindow+change > maxWindow { // §6.9.2
				return &ConnError{http2.ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE"}
			}
			s.widen(change)
		}
	}
	c.room(frameHead)
	c.out.b = appendFrame(c.out.b, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	return c.payLocked()
}
