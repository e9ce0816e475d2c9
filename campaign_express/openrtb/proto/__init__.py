"""OpenRTB 2.6 as protobuf: `openrtb.proto` and the modules that `make proto` generates from it (not edited by hand)."""
