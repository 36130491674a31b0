package cli

import (
	"fmt"

	"tripod/node/config"
)

type configCheckCmd struct {
	File string `arg:"" help:"The document, or - for standard input."`
	output
}

// checkReport is the check's result for programs. Its lists may be empty, and are never null.
type checkReport struct {
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
	Warnings []config.Problem `json:"warnings"`
}

// Run checks a document without a node.
func (c *configCheckCmd) Run(t *terminal) error {
	text, err := readDocument(c.File, t.in)
	if err != nil {
		return err
	}
	document, err := config.Parse(nameOf(c.File), []byte(text))
	problems, isProblems := err.(config.Problems)
	if err != nil && !isProblems {
		return err
	}
	var warnings []config.Problem
	if document != nil {
		warnings = document.Warnings()
	}
	if c.json() {
		report := checkReport{OK: err == nil, Problems: []config.Problem{}, Warnings: []config.Problem{}}
		report.Problems = append(report.Problems, problems...)
		report.Warnings = append(report.Warnings, warnings...)
		if err := writeJSON(t.out, report); err != nil {
			return err
		}
	} else {
		for _, w := range warnings {
			fmt.Fprintln(t.err, "warning:", w)
		}
		if err != nil {
			fmt.Fprintln(t.err, err)
		} else {
			fmt.Fprintf(t.out, "%s: ok: %d listeners, %d routes, %d services, %d vips\n", nameOf(c.File),
				len(document.Listeners), len(document.Routes), len(document.Services), len(document.VIPs))
		}
	}
	if err != nil {
		return &exitError{code: exitFailed}
	}
	return nil
}
