"""From a trained student and scenes to maps."""
