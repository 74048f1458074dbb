"""A gRPC server that says itself where it is, and drains before it stops. It takes a free port, so many may run on one host."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from gossipd.client import Discovery


def main() -> None:
    server = grpc.server(ThreadPoolExecutor())
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")  # in production "[::]:0", and TLS

    def greet(name: str, context: grpc.ServicerContext) -> str:
        return f"hello {name} from {port}"

    # What protoc would write from a .proto file as add_GreeterServicer_to_server.
    methods = {"Greet": grpc.unary_unary_rpc_method_handler(greet, bytes.decode, str.encode)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Greeter", methods),))

    server.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    name = f"greeter-{port}"
    with Discovery() as discovery, discovery.registered("greeter", id=name, port=port, checks=["grpc@1s"]):
        signal.pause()


if __name__ == "__main__":
    main()
