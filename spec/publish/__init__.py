"""What turns the specification into a site."""
