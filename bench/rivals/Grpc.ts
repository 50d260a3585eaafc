/**
 * gRPC, one unary method over one HTTP/2 connection without TLS. What only costs time here is off: retries, and the books of
 * channelz.
 */
import * as Grpc from "@grpc/grpc-js"
import { type Path, type Payload, payloadOf } from "../src/Path.ts"
import { lanes } from "./Lanes.ts"

const encode = (payload: Payload): Buffer => Buffer.from(JSON.stringify(payload))
const decode = (bytes: Buffer): Payload => JSON.parse(bytes.toString()) as Payload

const service = {
  echo: {
    path: "/bench.Echo/Echo",
    requestStream: false,
    responseStream: false,
    requestSerialize: encode,
    requestDeserialize: decode,
    responseSerialize: encode,
    responseDeserialize: decode
  }
} as const

const options: Grpc.ChannelOptions = { "grpc.enable_channelz": 0, "grpc.enable_retries": 0 }

const path: Path = {
  answer: () =>
    new Promise((resolve, reject) => {
      const server = new Grpc.Server(options)
      server.addService(service, {
        echo: (call: Grpc.ServerUnaryCall<Payload, Payload>, answer: Grpc.sendUnaryData<Payload>) =>
          answer(null, call.request)
      })
      server.bindAsync("127.0.0.1:0", Grpc.ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(`127.0.0.1:${port}`) : reject(error)
      )
    }),
  ask: async (address, bytes) => {
    const client = new Grpc.Client(address, Grpc.credentials.createInsecure(), options)
    const payload = payloadOf(bytes)
    return lanes(
      payload,
      () =>
        new Promise((resolve, reject) => {
          client.makeUnaryRequest(service.echo.path, encode, decode, payload, (error, answer) =>
            answer === undefined ? reject(error) : resolve(answer)
          )
        })
    )
  }
}

export default path
