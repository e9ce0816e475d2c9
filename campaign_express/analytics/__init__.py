"""Events in tables: their schema, sums and reports. No Ray; stores are reached through `ports.Warehouse`."""
