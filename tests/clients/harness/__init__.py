"""What every test of a running broker shares: the environment, the broker's process, reports and raw frames."""
