"""A gRPC server that says itself where it is, and drains before it stops. It takes any free port, or: PORT=50051"""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from gossipd.client import Discovery


def main() -> None:
    server = grpc.server(ThreadPoolExecutor())
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port(f"127.0.0.1:{os.environ.get('PORT', 0)}")  # in production [::], and TLS

    def greet(name: str, context: grpc.ServicerContext) -> str:
        return f"hello {name} from {port}"

    # What protoc would write from a .proto file as add_GreeterServicer_to_server.
    methods = {"Greet": grpc.unary_unary_rpc_method_handler(greet, bytes.decode, str.encode)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Greeter", methods),))

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # not at once: first it drains
    server.start()
    name = f"greeter-{port}"
    with Discovery() as discovery, discovery.registered("greeter", id=name, port=port, checks=["grpc@1s"]):
        stop.wait()
    server.stop(grace=5).wait()  # what was begun may end


if __name__ == "__main__":
    main()
