"""One technology a file, each implementing what the decision or the cell needs of it (see `campaign_express.ports`)."""
