"""anon-exclusive: an executable specification of exclusive anonymous pages."""
