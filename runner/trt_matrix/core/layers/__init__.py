"""What an engine really ran: the precision of each layer, each head's integer share."""
