// Tells of each request what Node's strict parser sees in it, in a field of the answer.
import http from "node:http";

const server = http.createServer({ insecureHTTPParser: false, keepAlive: true }, (request, response) => {
  const body = [];
  request.on("data", (piece) => body.push(piece));
  request.on("end", () => {
    const { headers, method, url } = request;
    const framing =
      "transfer-encoding" in headers ? "chunked" : "content-length" in headers ? "length" : "none";
    const hex = (bytes) => Buffer.from(bytes, "latin1").toString("hex");
    response.setHeader("X-Seen", [hex(method), hex(url), framing, Buffer.concat(body).toString("hex")].join(" "));
    response.setHeader("Content-Length", "0");
    response.end();
  });
});
server.httpAllowHalfOpen = true;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
