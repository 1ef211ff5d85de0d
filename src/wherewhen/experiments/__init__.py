"""Experiments: many trainings, one answer."""
