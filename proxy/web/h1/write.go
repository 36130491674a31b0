package h1

import (
	"net/http"
	"strconv"

	"tripod/proxy/web/message"
)

// AppendField appends a field line.
func AppendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// AppendLength appends Content-Length.
func AppendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// AppendStatus appends a status line.
func AppendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(b, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, "\r\n"...)
}

// AppendChunk appends the line before a chunk of n bytes; behind the data comes CRLF.
func AppendChunk(b []byte, n int) []byte {
	b = strconv.AppendUint(b, uint64(n), 16)
	return append(b, "\r\n"...)
}

// AppendLast appends the last chunk, the trailers and the end of chunked content.
func AppendLast(b []byte, trailers []message.Field) []byte {
	b = append(b, "0\r\n"...)
	for _, f := range trailers {
		b = AppendField(b, f.Name, f.Value)
	}
	return append(b, "\r\n"...)
}
