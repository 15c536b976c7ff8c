"""The network: its graph, the form that ranges are placed on, what each head depends on."""
