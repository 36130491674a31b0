//go:build linux

package outage

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// round makes a trial of every proxy, all at the same time: what disturbs one disturbs all. It also tells by how much the machine was late.
func round(ctx context.Context, stage Stage, f *fault, kinds []*kind, length time.Duration) ([]*trial, time.Duration, error) {
	folder, err := os.MkdirTemp("", "faults")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(folder)
	var trials []*trial
	waiting, all := &atomic.Int32{}, make(chan struct{})
	for _, k := range kinds {
		if k.wants(f) {
			trials = append(trials, &trial{kind: k, fault: f, length: length, waiting: waiting, all: all})
		}
	}
	waiting.Store(int32(len(trials)))
	err = together(ctx, trials, func(ctx context.Context, t *trial) error {
		own, err := os.MkdirTemp(folder, "")
		if err != nil {
			return err
		}
		return t.open(ctx, stage, own)
	})
	defer func() {
		_ = together(ctx, trials, func(_ context.Context, t *trial) error { t.close(); return nil })
	}()
	if err != nil {
		return nil, 0, err
	}
	beating, end := context.WithCancel(ctx)
	var heart sync.WaitGroup
	var p pulse
	heart.Go(func() { p.run(beating) })
	err = together(ctx, trials, func(ctx context.Context, t *trial) error { return t.run(ctx) })
	end()
	heart.Wait()
	return trials, p.latest(), err
}

// together does the same with all trials, and returns when all are done. The first error ends the others.
func together(ctx context.Context, trials []*trial, do func(context.Context, *trial) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	for _, t := range trials {
		work.Go(func() {
			if err := do(ctx, t); err != nil {
				cancel(fmt.Errorf("%s: %w", t.kind.name, err))
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
