"""What is most alike under a network, beside others: pictures, patches, frames of clips."""
