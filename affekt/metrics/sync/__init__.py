"""SyncNet: LSE-C and LSE-D."""
