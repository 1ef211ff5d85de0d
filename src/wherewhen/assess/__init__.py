"""How right a map is, and how much of each class there is, from a sample of reference points."""
