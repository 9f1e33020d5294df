"""What commands do to hand a trained network on, as functions: export it, serve it."""
