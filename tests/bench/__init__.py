"""Each bench, for one short round."""
