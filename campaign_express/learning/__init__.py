"""Models: how the shipped one is made and, later, how it is trained on events. Nothing here runs while bidding."""
