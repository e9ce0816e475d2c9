"""OpenRTB 2.6 on the wire: types, codec, no-bid reasons, notice URLs, protobuf. No I/O and no decisions here."""
