"""A float32 network → the same in float16 or bfloat16, for engines where the network's types decide."""
