"""`tfssl serve`: an export over TensorFlow Serving's own REST and gRPC, for a laptop without Docker.

errors      what a request is refused with
model       one loaded version, and what its signatures take
versions    the versions of a folder: the newest is served, without a request lost when it changes
protos      tensors as gRPC has them
rest_json   tensors as REST has them
work        what both have in common: limits, threads
rest, rpc   the two services
serving     `serve`, and the start and end of it all
"""
