"""What is published: the distributions, the promises to their users, and the workflows that publish them."""
