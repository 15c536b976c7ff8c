"""What single commands tell or do beside the run: plan, init, doctor, catalog, diff, gc."""
