"""Does an export still answer as it did when it was made? Here, on a device, behind a server."""
