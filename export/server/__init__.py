"""`tfssl serve`: an export over TensorFlow Serving's own REST and gRPC, for a laptop without Docker.

errors      what a request is refused with
model       one loaded version, and what its signatures take
versions    the versions of a folder: the newest is served, without a request lost when it changes
tensors     as gRPC has them
rest_json   tensors as REST has them
warm_up     the requests that an export brings along
executor    limits and threads, for both protocols
service     what both protocols answer in the same way
rest        REST
grpc_service  gRPC
heap        memory that is given back to the system
load        clients that `bench serving` starts
serve       `serve`, and the start and end of it all
"""
