package api

import (
	"tripod/node/config"
)

// ApplyRequest asks for a new document.
type ApplyRequest struct {
	// File is what the author calls the document; it appears in the messages about it.
	File    string `json:"file"`
	Text    string `json:"text"`
	Author  string `json:"author"`
	Message string `json:"message,omitempty"`
	// IfRevision is the revision that the author based the change on: 0 means that there was none, nil the
	// one that is current when the request arrives.
	IfRevision *int64 `json:"if_revision,omitempty"`
	// DryRun checks and compares, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// ApplyReply says what became of it.
type ApplyReply struct {
	Revision  int64            `json:"revision"` // 0 after a dry run
	Former    int64            `json:"former"`   // revision that it replaced; 0 is none
	Unchanged bool             `json:"unchanged,omitempty"`
	Diff      string           `json:"diff,omitempty"`
	Warnings  []config.Problem `json:"warnings,omitempty"`
	Served    []string         `json:"served"`            // nodes that serve the revision (or a newer one)
	Missing   []Missing        `json:"missing,omitempty"` // live nodes that do not
}

// Missing is a live node that does not serve a document, and why.
type Missing struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}
