"""What `zoo.evaluate` computes, prints and draws."""
