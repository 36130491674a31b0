package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"tripod/node/config"
)

// Failure is an error that crosses the API with what a program needs to act on it.
type Failure struct {
	Message  string           `json:"error"`
	Status   int              `json:"-"`                  // of HTTP
	Problems []config.Problem `json:"problems,omitempty"` // of a document that does not compile
	Current  *config.Version  `json:"current,omitempty"`  // the document that made a change stale; without its text
}

var _ error = (*Failure)(nil)

// Error is what happened, for a person.
func (f *Failure) Error() string { return f.Message }

// Fail makes a failure with an HTTP status.
func Fail(status int, err error) *Failure { return &Failure{Message: err.Error(), Status: status} }

// failureOf gives any error its form for the wire.
func failureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		return &Failure{Message: err.Error(), Status: http.StatusUnprocessableEntity, Problems: problems}
	}
	var stale *config.StaleError
	if errors.As(err, &stale) {
		current := stale.Current
		current.Text = ""
		return &Failure{Message: err.Error(), Status: http.StatusConflict, Current: &current}
	}
	return Fail(http.StatusInternalServerError, err)
}

func writeFailure(w http.ResponseWriter, err error) {
	f := failureOf(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(f) // the connection is gone, and with it whoever asked
}
