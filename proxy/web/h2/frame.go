package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

const (
	frameHead    = 9       // bytes of a frame's head (RFC 9113 §4.1)
	maxFrame     = 1 << 14 // the longest payload we accept, and send: the default of SETTINGS_MAX_FRAME_SIZE
	recordFrame  = maxFrame - frameHead
	maxWindow    = 1<<31 - 1
	maxStreamID  = 1<<31 - 1
	firstWindow  = 65535 // RFC 9113 §6.9.2
	settingBytes = 6

	streamWindow    = 256 << 10 // what a stream begins with
	maxStreamWindow = 1 << 20   // what it grows to while its handler keeps up
	connWindow      = 1 << 20
	maxConnWindow   = 4 << 20
)

// frame is a frame's head.
type frame struct {
	length int
	kind   http2.FrameType
	flags  http2.Flags
	id     uint32
}

// parseFrame reads a frame's head off nine bytes.
func parseFrame(b []byte) frame {
	_ = b[8]
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   http2.FrameType(b[3]),
		flags:  http2.Flags(b[4]),
		id:     binary.BigEndian.Uint32(b[5:]) & maxStreamID,
	}
}

func appendFrame(b []byte, length int, kind http2.FrameType, flags http2.Flags, id uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags),
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// setLength puts a frame's length in, once it is known.
func setLength(head []byte, length int) {
	head[0], head[1], head[2] = byte(length>>16), byte(length>>8), byte(length)
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	b = appendFrame(b, 4, http2.FrameRSTStream, 0, id)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendUpdate(b []byte, id, increment uint32) []byte {
	b = appendFrame(b, 4, http2.FrameWindowUpdate, 0, id)
	return binary.BigEndian.AppendUint32(b, increment)
}

func appendPing(b []byte, flags http2.Flags, data uint64) []byte {
	b = appendFrame(b, 8, http2.FramePing, flags, 0)
	return binary.BigEndian.AppendUint64(b, data)
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, reason string) []byte {
	b = appendFrame(b, 8+len(reason), http2.FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, reason...)
}

// appendHello is what a connection begins with: our settings (RFC 9113 §3.4), and a larger window for the connection.
func appendHello(b []byte, o *Options) []byte {
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: o.MaxStreams},
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(o.MaxHead)},
		{ID: http2.SettingEnableConnectProtocol, Val: 1}, // RFC 8441 §3
		{ID: http2.SettingNoRFC7540Priorities, Val: 1},   // RFC 9218 §2.1
	}
	b = appendFrame(b, settingBytes*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return appendUpdate(b, 0, connWindow-firstWindow)
}

// unpad takes the padding off a DATA or HEADERS frame's payload (RFC 9113 §6.1); ok is false if it is longer than the payload.
func unpad(f frame, p []byte) (rest []byte, ok bool) {
	if !f.flags.Has(http2.FlagDataPadded) { // the same bit in HEADERS
		return p, true
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, false
	}
	return p[1 : len(p)-int(p[0])], true
}
