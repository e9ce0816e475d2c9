"""An exchange of our own: requests, auctions, notices and the truth about them, to prove the bidder against."""
