/**
 * Documentation: `/openapi.json` (OpenAPI 3.1) and `/docs`, a page to browse it, which works without any other server.
 *
 * Both are made when they are first asked for: the page carries its script of three megabytes within itself.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Layer from "effect/Layer"
import { Api } from "./Api.ts"
import * as Answers from "./internal/Answers.ts"

/** The page runs the script within it, styles itself, and asks nobody but this registry. */
const POLICY =
  "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; " +
  "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; " +
  "frame-ancestors 'none'"

let specification: string | undefined
const openApi = (): string => (specification ??= JSON.stringify(OpenApi.fromApi(Api)))

/** The page: Scalar's, with its script inline and without its web fonts. */
const page = Effect.gen(function* () {
  const { layer } = yield* Effect.promise(() => import("effect/http-api/HttpApiScalar"))
  const router = yield* HttpRouter.make
  const scalar = layer(Api, { path: "/docs", scalar: { withDefaultFonts: false } })
  yield* Layer.build(Layer.provide(scalar, Layer.succeed(HttpRouter.HttpRouter, router)))
  return router.asHttpEffect()
})

/** The routes. */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter> = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const made = yield* Effect.cached(Effect.scoped(page))
    yield* router.add("GET", "/openapi.json", (request) => Effect.sync(() => Answers.tagged(request, openApi())))
    yield* router.add(
      "GET",
      "/docs",
      Effect.flatMap(made, (app) => Effect.orDie(app)).pipe(
        Effect.map(HttpServerResponse.setHeader("content-security-policy", POLICY))
      )
    )
  })
)
