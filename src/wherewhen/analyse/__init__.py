"""Looks at finished runs: what a teacher makes of place and time, how right pseudo-labels were, who errs where."""
