"""Malformed and ambiguous HTTP/1.1 requests, and what is to become of each.

A case is the bytes that a client sends, the statuses that it is answered with, the requests that the server behind the
gateway may see (method, target, body), and whether the connection ends after the answers.  Behind every case another
request is sent on the same connection: where the connection ends nobody may see it, and where it does not the server
must see just that, so that both sides agree where the case ended."""


class Case:
    def __init__(self, name, data, answers, seen=(), closes=True, absent=(), present=None, ends=False, other=None):
        self.name = name
        self.data = data if isinstance(data, bytes) else data.encode("latin-1")
        self.answers = list(answers)
        self.seen = [(method, target, body if isinstance(body, bytes) else body.encode("latin-1"))
                     for method, target, body in seen]
        self.closes = closes
        self.absent = [name.lower() for name in absent] # fields that the server must not see
        self.present = present or {}  # and what it must see in others
        self.ends = ends    # the client ends its side behind the case, in place of another request
        self.other = other  # what may become of it as well; None: nothing


def head(line, *fields, host="a.example"):
    lines = [line] + (["Host: " + host] if host is not None else []) + list(fields)
    return "\r\n".join(lines) + "\r\n\r\n"


def get(target="/t", *fields, method="GET", **more):
    return head("%s %s HTTP/1.1" % (method, target), *fields, **more)


def post(*fields, body="", target="/t"):
    return head("POST %s HTTP/1.1" % target, *fields) + body


def shown(value):
    """A value as part of a case's name."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    text = "".join(c if 0x21 <= ord(c) < 0x7f else "<%02x>" % ord(c) for c in text)
    return text if len(text) <= 32 else text[:24] + "...(%d)" % len(text)


def refused(name, data, status=400, **more):
    return Case(name, data, [status], **more)


def passed(name, data, method="GET", target="/t", body="", **more):
    return Case(name, data, [200], [(method, target, body)], closes=more.pop("closes", False), **more)


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"


def lengths():
    for value in ("", " ", "+5", "-5", "-0", "+0", "0x5", "0X5", "5x", "x5", "5 5", "5\t5", "5,5", "5, 5", "5,6", "5;5", "5.0", "5e0",
                  "5_0", "five", "0b101", "0o5", "'5'", "\"5\"", "5\xa0", "\xa05", "\xb2", "NaN", "18446744073709551616",
                  "18446744073709551621", "9223372036854775808", "99999999999999999999", "0" * 30 + "5", "%35"):
        yield refused("length " + shown(value), post("Content-Length: " + value, body="hello"))
    for value in ("5", "  5", "5 ", "\t5\t", "05", "0000005"):
        yield passed("length " + shown(value), post("Content-Length: " + value, body="hello"), "POST", body="hello",
                     present={"content-length": "5"})
    yield refused("length beyond the maximum", post("Content-Length: 999999999999", body="hello"), 413)
    yield passed("no length, no body", post(), "POST")
    yield passed("length 0", post("Content-Length: 0"), "POST")
    for one, two in (("5", "6"), ("6", "5"), ("0", "5"), ("5", "0"), ("5", "x"), ("5", ""), ("5", "+5"), ("5", "5, 5")):
        yield refused("lengths %s and %s" % (one, two),
                      post("Content-Length: " + one, "Content-Length: " + two, body="hello"))
    yield refused("lengths that differ, in different letters",
                  post("content-length: 0", "CONTENT-LENGTH: %d" % len(SMUGGLED), body=SMUGGLED))
    yield passed("the same length twice", post("Content-Length: 5", "content-length: 5", body="hello"), "POST",
                 body="hello")
    yield passed("a body of a GET that looks like a request",
                 get("/t", "Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, body=SMUGGLED)
    yield passed("a body of a HEAD", get("/t", "Content-Length: 5", method="HEAD") + "hello", "HEAD", body="hello")
    yield Case("a length that is too short", post("Content-Length: 2", body="he:lo"), [200, 400], [("POST", "/t", "he")])
    yield Case("no length, with a body", post(body="hello: \r\n\r\n"), [200, 400], [("POST", "/t", "")])
    yield Case("a length that is too long", post("Content-Length: 9", body="hello"), [], ends=True)


def codings():
    both = ("Content-Length: 5", CHUNKED)
    body = "0\r\n\r\n"
    yield refused("CL.TE", post("Content-Length: %d" % (len(body) + len(SMUGGLED)), CHUNKED, body=body + SMUGGLED))
    yield refused("TE.CL", post(CHUNKED, "Content-Length: 5", body="2c\r\n" + SMUGGLED + "\r\n" + body))
    yield refused("CL.TE with the same body", post(*both, body=body))
    yield refused("TE.CL with a length of 0", post(CHUNKED, "Content-Length: 0", body=body + SMUGGLED))
    yield refused("TE.CL in other letters", post("tRANSFER-eNCODING: CHUNKED", "cONTENT-lENGTH: 5", body=body))
    for value in ("xchunked", "chunkedx", "chunked, identity", "identity, chunked", "chunked, chunked", "chunked,", ",chunked", "chunked;x=1",
                  "\"chunked\"", "'chunked'", "gzip, chunked", "chunked, gzip", "gzip", "identity", "cow", "", "chu nked",
                  "chunked\x80", "\xa0chunked", "ch\xfcnked", "chunked chunked", "x, chunked", "{chunked}", "chunk"):
        yield refused("coding " + shown(value), post("Transfer-Encoding: " + value, body=body + SMUGGLED), 501)
        yield refused("coding %s with a length" % shown(value),
                      post("Content-Length: 5", "Transfer-Encoding: " + value, body=body + SMUGGLED), 501)
    for value in ("\x0bchunked", "chunked\x0b", "\x0cchunked", "chun\0ked", "\0chunked", "chunked\x7f", "chunked\r",
                  "\rchunked", "chunked\n", "\nchunked", "\n chunked", "\r\n chunked", "\r\n\tchunked", "chunked\r\n ",
                  "\r\n\r chunked"):
        yield refused("coding " + shown(value), post("Transfer-Encoding: " + value, body=body + SMUGGLED))
    for value in ("chunked", "Chunked", "CHUNKED", "  chunked", "chunked \t"):
        yield passed("coding " + shown(value), post("Transfer-Encoding: " + value, body="5\r\nhello\r\n" + body), "POST",
                     body="hello", present={"transfer-encoding": "chunked"})
    for name in ("Transfer-Encoding ", "Transfer-Encoding\t", " Transfer-Encoding", "\tTransfer-Encoding",
                 "Transfer-Encoding\0", "Transfer-Encoding\x0b", "Transfer Encoding", "Transfer-Encoding\x80",
                 "\x0bTransfer-Encoding", "Transfer-Encoding\r", "\rTransfer-Encoding", "X: y\nTransfer-Encoding",
                 "X: y\rTransfer-Encoding", "Transfer-Encoding\r\n", "(Transfer-Encoding)", "Transfer-Encoding;"):
        yield refused("coding in the field " + shown(name),
                      post("Content-Length: 5", name + ": chunked", body=body + SMUGGLED))
    for one, two in (("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("chunked", "x"),
                     ("x", "chunked"), ("", "chunked"), ("chunked", "")):
        yield refused("codings '%s' and '%s'" % (one, two),
                      post("Transfer-Encoding: " + one, "Transfer-encoding: " + two, body=body), 501)
    yield refused("a coding in HTTP/1.0", head("POST /t HTTP/1.0", CHUNKED) + body)
    yield refused("a coding in HTTP/1.0 that is kept", head("POST /t HTTP/1.0", "Connection: keep-alive", CHUNKED) + body)
    for name in ("Transfer_Encoding", "transfer_encoding", "Content_Length", "content_length", "Content-_Length"):
        lookalike = name.lower().replace("_", "-") in ("transfer-encoding", "content-length")
        yield passed("framing in the field " + name,
                     post("Content-Length: 5", name + (": chunked" if "ransfer" in name else ": 0"), body="hello"), "POST",
                     body="hello", absent=[name] if lookalike else [])
    yield passed("a coding only as a trailer's promise", get("/t", "Trailer: Transfer-Encoding"))
    yield passed("TE is no coding of the request", get("/t", "TE: chunked"), absent=["TE"])


def chunks():
    end = "0\r\n\r\n"
    for size in ("5", "05", "0000005", "5;a", "5;a=b", "5;a=\"b\"", "5 ;a=b", "5;" + "x" * 1000, "5 ", "5\t"):
        yield passed("chunk size " + shown(size), post(CHUNKED, body=size + "\r\nhello\r\n" + end), "POST", body="hello")
    yield passed("chunk size in capitals", post(CHUNKED, body="A\r\n0123456789\r\n" + end), "POST", body="0123456789")
    yield passed("chunk size in small letters", post(CHUNKED, body="a\r\n0123456789\r\n" + end), "POST", body="0123456789")
    yield passed("many chunks", post(CHUNKED, body="1\r\nx\r\n" * 500 + end), "POST", body="x" * 500)
    yield passed("a body that looks like a request", post(CHUNKED, body="%x\r\n%s\r\n%s" % (len(SMUGGLED), SMUGGLED, end)),
                 "POST", body=SMUGGLED)
    for size in ("", "x5", "0x5", "0X5", "-5", "+5", " 5", "\t5", "5,5", "5.", "5_", "h", "5h", "5\x005", "5\xa0", "\xa05", "\"5\"", "5 5",
                 "5 a=b", "5\t5", "5\n", "5;a\n", "5\nhello", "5;a\0b", "5;a\x0b", "5;a\x7f", "5;a\rb", "5\r", "5\rx", "FFFFFFFFFFFFFFFF",
                 "10000000000000005", "FFFFFFFFFFFFFFFF5", "8000000000000000", "7FFFFFFFFFFFFFFFF", "0" * 40 + "5",
                 "5;" + "x" * 5000, "\r\n5", "\n5", "five"):
        yield refused("chunk size " + shown(size), post(CHUNKED, body=size + "\r\nhello\r\n" + end))
    for name, body in (("longer than its size", "3\r\nhello\r\n" + end), ("without its end", "5\r\nhello" + end),
                       ("ended by a line feed", "5\r\nhello\n" + end), ("ended by a carriage return", "5\r\nhello\r" + end),
                       ("ended by two line feeds", "5\r\nhello\n\n" + end), ("ended by blanks", "5\r\nhello  \r\n" + end),
                       ("of nothing, ended by a line feed", "0\n\n"), ("of nothing, then a line feed", "0\r\n\n"),
                       ("of nothing, in bare carriage returns", "0\r\r"),
                       ("that is a request", SMUGGLED), ("of a negative zero", "-0\r\n\r\n")):
        yield refused("chunk " + name, post(CHUNKED, body=body))
    for name, body in (("shorter than its size", "9\r\nhello\r\n"), ("whose end does not come", "5\r\nhello\r\n"),
                       ("whose last line does not come", "5\r\nhello\r\n0\r\n"), ("whose size is cut off", "5")):
        yield Case("chunk " + name, post(CHUNKED, body=body), [], ends=True)
    for name, lines in (("of the usual kind", "X-T: 1\r\n"), ("with a length", "Content-Length: 50\r\n"),
                        ("with a coding", "Transfer-Encoding: chunked\r\n"), ("with a host", "Host: evil.example\r\n"),
                        ("with bytes above 0x7f", "X-T: \xe4\xff\r\n"), ("of many lines", "X-T: 1\r\n" * 60)):
        # RFC 9110, 6.5.1: what frames or routes a message is no trailer; the gateway may refuse it or leave it out.
        data = post(CHUNKED, body="5\r\nhello\r\n0\r\n" + lines + "\r\n")
        yield passed("trailer " + name, data, "POST", body="hello", present={"host": "a.example"},
                     other=None if "X-T" in lines else refused("", data))
    for name, lines in (("with a zero byte", "X-T: \0\r\n"), ("with a line feed", "X-T: a\nX: b\r\n"),
                        ("with a carriage return", "X-T: a\rX: b\r\n"), ("without end", "X-T: " + "x" * 20000 + "\r\n")):
        yield refused("trailer " + name, post(CHUNKED, body="5\r\nhello\r\n0\r\n" + lines + "\r\n"))


def lines():
    yield refused("line feeds only", get().replace("\r\n", "\n"))
    yield refused("carriage returns only", get().replace("\r\n", "\r"))
    yield refused("line feed behind the request line", "GET /t HTTP/1.1\nHost: a.example\r\n\r\n")
    yield refused("line feed behind a field", "GET /t HTTP/1.1\r\nHost: a.example\n\r\n")
    yield refused("line feed as the empty line", "GET /t HTTP/1.1\r\nHost: a.example\r\n\n")
    yield refused("carriage return as the empty line", "GET /t HTTP/1.1\r\nHost: a.example\r\n\rX\r\n\r\n")
    yield refused("two carriage returns", "GET /t HTTP/1.1\r\nHost: a.example\r\r\n\r\n")
    yield refused("line feed, carriage return", "GET /t HTTP/1.1\n\rHost: a.example\n\r\n\r")
    yield refused("a bare carriage return in a value", get("/t", "X: a\rb"))
    yield refused("a bare line feed in a value", get("/t", "X: a\nY: b"))
    yield refused("a request behind a line feed in a value", get("/t", "X: a\n\nGET /smuggled HTTP/1.1\nHost: b"))
    yield passed("an empty line before the request", "\r\n" + get())
    yield passed("empty lines before the request", "\r\n\r\n\r\n" + get())
    yield refused("a line feed before the request", "\n" + get())
    yield refused("a carriage return before the request", "\r" + get())
    yield refused("a blank before the request", " " + get())
    yield refused("a zero byte before the request", "\0" + get())
    yield refused("a byte order mark before the request", "\xef\xbb\xbf" + get())
    for fold in (" folded", "\tfolded", " ", "\t", " X: y", "  \t x"):
        yield refused("folded line " + shown(fold), get("/t", "X: a", fold))
    yield refused("folded first field", "GET /t HTTP/1.1\r\n Host: a.example\r\n\r\n")
    yield refused("folded length", post("Content-Length:\r\n 5", body="hello"))
    yield refused("folded host", "GET /t HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n")
    for name, data in (("in the method", "GE"), ("in the target", "GET /t"), ("in the version", "GET /t HTTP/1."),
                       ("in a field", "GET /t HTTP/1.1\r\nHost: a"), ("before the empty line", get()[:-2]),
                       ("in the empty line", get()[:-1]), ("before the line feed of a line", get()[:-3])):
        yield Case("a head that ends " + name, data, [], ends=True)


def request_lines():
    for line in ("", " ", "GET", "GET ", "GET /t", "GET /t ", "GET  /t HTTP/1.1", "GET /t  HTTP/1.1", "GET\t/t HTTP/1.1", "GET /t\tHTTP/1.1",
                 "GET /t HTTP/1.1 ", "GET /t HTTP/1.1\t", "GET /t x HTTP/1.1", "GET /t HTTP/1.1 HTTP/1.1", "/t HTTP/1.1", "GET HTTP/1.1", "GET/t HTTP/1.1",
                 "G ET /t HTTP/1.1", "G\0ET /t HTTP/1.1", "G(ET /t HTTP/1.1", "G/ET /t HTTP/1.1", "G:ET /t HTTP/1.1", "\"GET\" /t HTTP/1.1",
                 "G\xc9T /t HTTP/1.1", "GET\x0b/t HTTP/1.1", "GET\xa0/t HTTP/1.1", "GET@/t HTTP/1.1", "{GET} /t HTTP/1.1", "Host: a.example",
                 "GET /t HTTP/1.1x", "GET /t HTTP/1", "GET /t HTTP/1.", "GET /t HTTP/.1", "GET /t HTTP/1.10", "GET /t HTTP/01.1", "GET /t HTTP/11",
                 "GET /t http/1.1", "GET /t Http/1.1", "GET /t HTTP/1,1", "GET /t HTTP 1.1", "GET /t HTTP/ 1.1", "GET /t HTTP/1 .1", "GET /t HTTP/-1.1",
                 "GET /t HTTP/+1.1", "GET /t HTTP/a.b", "GET /t XHTTP/1.1", "GET /t HTTPS/1.1", "GET /t HTTP\\1.1", "GET /t HTTP/1.1;x",
                 "GET /t\0 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /t HTTP/\xb9.1", "GET /t ICY/1.0", "GET /t SIP/2.0"):
        if line:
            yield refused("line '%s'" % shown(line), head(line))
    for version in ("0.9", "1.2", "1.9", "2.0", "2.1", "3.0", "9.9", "0.0"):
        yield refused("version " + version, head("GET /t HTTP/" + version), 505)
    yield refused("HTTP/0.9", "GET /t\r\n")
    yield refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    yield refused("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50)
    yield refused("SSH", "SSH-2.0-OpenSSH_9.2\r\n")
    yield refused("a header of the PROXY protocol", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get())
    for method in ("get", "Get", "X", "M-SEARCH", "A!#$%&'*+-.^_`|~0", "DELETE", "TRACE", "PATCH", "GETGET"):
        yield passed("method " + method, get(method=method), method)
    yield refused("CONNECT to an authority", head("CONNECT b.example:443 HTTP/1.1"), 501)
    yield refused("CONNECT to a path", head("CONNECT /t HTTP/1.1"), 501)
    yield refused("CONNECT to an URI", head("CONNECT http://b.example/ HTTP/1.1"), 501)
    yield passed("HTTP/1.0 without a host", "GET /t HTTP/1.0\r\n\r\n", closes=True)
    yield passed("HTTP/1.0 that is kept", "GET /t HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")


def targets():
    for target in ("t", "", "*", "?x", "#", "a.example", "a.example:80", "/\x80", "/\xff", "/t#", "/t#f", "/t?x#f", "#f", "/%", "/%0", "/%zz", "/%2",
                   "/%g0", "/%u0041", "/t%", "/%00", "/t%00.html", "/%2500%00", "ftp://b.example/t", "file:///etc/passwd", "javascript:x", "://b/t",
                   "http:/t", "http:b.example", "http//b.example", "/..", "/../t", "/t/../../t", "/%2e%2e/t", "/%2E./t", "/.%2e/t",
                   "/..%2ft", "/..%2f..%2fetc/passwd", "/./../t", "//../t", "http://b.example/../t"):
        if target:
            yield refused("target " + shown(target), get(target))
    for target in ("//t", "///t", "/t/", "/t//x", "/./t", "/t/.", "/x/../t", "/x/%2e%2e/t", "/%74", "/t;a=b", "/t%3b", "/t%0d%0aX:%20y",
                   "/t%20HTTP/1.1", "/t?a=/../private", "/t?%00", "/t?a#"[:-1], "/t??", "/t?a&&b=%zz", "/t%2fx", "/t%5cx", "/t\\x", "/t|x", "/t\"x",
                   "/t<x>", "/t{x}", "/t^x", "/t`x", "/t%25", "/t%252e%252e/", "/t/...", "/t/..x", "/.t", "/:80", "//b.example/t", "/http://b.example/",
                   "/PRIVATE", "/privatex", "/private%20", "/private;a", "/" + "x" * 8000):
        yield passed("target " + shown(target), get(target), target=target)
    # The gateway itself answers for /private, and a server that takes other bytes for slashes must not see it either.
    for target in ("/private", "/private/", "/private/x", "//private", "/./private", "/x/../private", "/%70rivate", "/x/%2e%2e/private",
                   "/private?x", "/private//x", "/privat%65/x", "http://b.example/private", "http://b.example//private", "/private%2fx"):
        yield Case("target " + shown(target), get(target), [403], closes=False)
    for target in ("/x/..%2fprivate", "/x%2f..%2fprivate", "/x%2f../private", "/private/..%2fx", "/private%2f..%2fx", "/private%2f../x", "/x%5c..%5cprivate",
                   "/x\\..\\private", "/x/..\\private", "/private\\..\\x", "/private/..%5cx", "/x/..;/private", "/x/..;a=b/private", "/x/.;/private",
                   "/x/%2e%2e;/private", "/private/..;/x", "/x/.%2fprivate", "/..;/private", "/x/..%3b/private", "/x/..\\", "/x%2f.."):
        yield refused("target " + shown(target), get(target))
    for uri, target, host in (("http://b.example/t", "/t", "b.example"), ("HTTP://b.example/t", "/t", "b.example"), ("https://b.example/t", "/t", "b.example"),
                              ("http://b.example", "/", "b.example"), ("http://b.example?x", "/?x", "b.example"), ("http://b.example:81/t", "/t", "b.example:81"),
                              ("http://[::1]:80/t", "/t", "[::1]:80"), ("http://b.example//t", "//t", "b.example")):
        yield passed("URI " + uri, get(uri), target=target, present={"host": host})
        yield passed("URI %s with the host field of another" % uri, get(uri, host="evil.example"), target=target, present={"host": host})
    for uri in ("http://", "http:///t", "http://user@b.example/t", "http://user:word@b.example/t", "http://b.example\\t", "http://b example/t",
                "http://b.example,c.example/t", "http://b.example#f", "http://b.example/t#f", "http://\xe4.example/t", "http://b.example/%00", "http://<b>/t"):
        yield refused("URI " + shown(uri), get(uri))
    yield passed("OPTIONS for the server", get("*", method="OPTIONS"), "OPTIONS", "*")
    yield passed("OPTIONS for the server by its URI", get("http://b.example", method="OPTIONS"), "OPTIONS", "*", present={"host": "b.example"})
    for method in ("POST", "HEAD", "DELETE", "options"):
        yield refused("* for " + method, get("*", method=method))


def hosts():
    yield refused("no host", get(host=None))
    for one, two in (("a.example", "a.example"), ("a.example", "b.example"), ("a.example", ""), ("", "")):
        yield refused("hosts '%s' and '%s'" % (one, two), get("/t", "Host: " + two, host=one))
    yield refused("hosts in different letters", get("/t", "hOST: b.example"))
    yield refused("two hosts in HTTP/1.0", head("GET /t HTTP/1.0", "Host: b.example"))
    yield refused("an URI and no host", get("http://b.example/t", host=None))
    for host in ("a b", "a,b", "a.example, b.example", "a/b", "a\\b", "a@b", "a?b", "a#b", "\xe4", "<a>", "\"a\"", "a\0b", "a\x7f", "{a}", "a|b", "a^b",
                 "http://a.example", "a.example/", "user@a.example"):
        yield refused("host " + shown(host), get(host=host))
        yield refused("host %s, where the gateway answers itself" % shown(host), get("/own", host=host))
    for host in ("", "A.EXAMPLE", "a.example:80", "a.example.", "[::1]", "[::1]:80", "127.0.0.1", "a_b", "x" * 300):
        yield passed("host " + shown(host), get(host=host), present={"host": host})
    for field in ("Host : b.example", " Host: b.example", "Host\t: b.example", "H ost: b.example", "Host\0: b.example"):
        yield refused("host in the field " + shown(field), get("/t", field))
    yield passed("Host_ is another field", get("/t", "Host_: b.example"), present={"host": "a.example"})


def fields():
    for code in [*range(0x00, 0x09), *range(0x0a, 0x20), 0x7f]:
        yield refused("byte 0x%02x in a value" % code, get("/t", "X: a%cb" % code))
    for code in [0x00, 0x01, 0x09, 0x0b, 0x1f, 0x20, *b"\"(),/;<=>?@[\\]{}", 0x7f, 0x80, 0xa0, 0xff]:
        yield refused("byte 0x%02x in a name" % code, get("/t", "X%cY: b" % code))
    for code in (0x80, 0xa0, 0xc3, 0xff):
        yield passed("byte 0x%02x in a value" % code, get("/t", "X: a%cb" % code), present={"x": "a%cb" % code})
    for field in (":", "X", "X x", "X :x", "X\t:x", " :x", ",: x", "X y: z", "GET /x HTTP/1.1"):
        yield refused("field '%s'" % shown(field), get("/t", field))
    for field, value in (("X:", ""), ("X:   ", ""), ("X:\t y \t", "y"), ("X:y:z", "y:z"), ("X: :", ":"), ("!#$%&'*+-.^_`|~9: y", None),
                         ("X: GET /x HTTP/1.1", "GET /x HTTP/1.1"), ("X: " + "x" * 10000, "x" * 10000)):
        yield passed("field '%s'" % shown(field), get("/t", field), present={"x": value} if value is not None else {})
    yield passed("as many fields as there may be", get("/t", *["X-%d: y" % i for i in range(63)]))
    yield refused("one field too many", get("/t", *["X-%d: y" % i for i in range(64)]), 431)
    yield refused("a thousand fields", get("/t", *["X: y"] * 1000), 431)
    yield refused("a head that is too large", get("/t", *["X-%d: %s" % (i, "x" * 1000) for i in range(17)]), 431)
    yield refused("a field that is too long", get("/t", "X: " + "x" * 17000), 431)
    yield refused("a name that is too long", get("/t", "x" * 17000 + ": y"), 431)
    yield refused("a target that is too long", get("/" + "x" * 17000), 431)
    yield refused("a method that is too long", get(method="X" * 17000), 431)
    yield refused("a head without end", "GET /t HTTP/1.1\r\nX: " + "x" * 30000, 431)
    yield refused("empty lines without end", "\r\n" * 12000, 431)


def connections():
    for name in ("content-length", "Content-Length, close", "host", "transfer-encoding, content-length"):
        yield passed("Connection: " + name, post("Content-Length: 5", "Connection: " + name, body="hello"), "POST", body="hello",
                     closes="close" in name, present={"host": "a.example", "content-length": "5"})
    yield passed("Connection: transfer-encoding", post(CHUNKED, "Connection: transfer-encoding", body="5\r\nhello\r\n0\r\n\r\n"), "POST", body="hello",
                 present={"transfer-encoding": "chunked"})
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"):
        yield passed("Connection: " + name, get("/t", name + ": evil", "Connection: " + name),
                     present={"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "a.example"})
    for name in ("X_Forwarded_For", "X-Forwarded_For", "x_forwarded_proto", "X_Forwarded_Host"):
        yield passed("what looks like a proxy's: " + name, get("/t", name + ": evil"), absent=[name])
    yield passed("a field of the connection", get("/t", "X-A: 1", "Connection: x-a"), absent=["x-a", "connection"])
    yield passed("fields of the connection", get("/t", "X-A: 1", "X-B: 2", "Connection: , x-a ,,\tX-B,"), absent=["x-a", "x-b", "connection"])
    yield passed("fields of the connection, in two", get("/t", "X-A: 1", "Connection: x-a", "X-B: 2", "Connection: keep-alive, x-b"), absent=["x-a", "x-b"])
    yield passed("close in the second field", get("/t", "Connection: keep-alive", "Connection: close"), closes=True, absent=["connection"])
    yield passed("Close in other letters", get("/t", "Connection: x, cLoSe"), closes=True)
    yield passed("closed is not close", get("/t", "Connection: closed"))
    yield refused("too many options", get("/t", "Connection: " + ", ".join("x%d" % i for i in range(40))))
    yield passed("what concerns the connection", get("/t", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
                 absent=["keep-alive", "proxy-connection", "http2-settings"])
    for upgrade in ("h2c", "H2C", "h2c, websocket", "websocket, h2c"):
        yield passed("Upgrade: " + upgrade, get("/t", "Connection: Upgrade, HTTP2-Settings", "Upgrade: " + upgrade, "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
                     absent=["upgrade", "connection", "http2-settings"])
    yield passed("Upgrade: h2c in two fields", get("/t", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"), absent=["upgrade"])
    yield passed("Upgrade without Connection", get("/t", "Upgrade: websocket"), absent=["upgrade"])
    yield passed("an upgrade that the server does not make", get("/t", "Connection: upgrade", "Upgrade: websocket"), present={"upgrade": "websocket"})
    yield passed("an upgrade with a body that looks like a request", post("Connection: upgrade", "Upgrade: websocket", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
                 "POST", body=SMUGGLED)
    for value in ("100-continue", "100-Continue", "100-continue, x", "200-ok", "", "x"):
        yield passed("Expect: " + value, post("Expect: " + value, "Content-Length: 5", body="hello"), "POST", body="hello", absent=["expect"])
        yield passed("Expect: %s without a body" % value, get("/t", "Expect: " + value), absent=["expect"])
    yield passed("Expect twice", post("Expect: 100-continue", "Expect: x", CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"), "POST", body="hello", absent=["expect"])
    yield passed("TE: trailers", get("/t", "TE: trailers"), present={"te": "trailers", "connection": "TE"})


def pipelines():
    yield Case("two requests", get("/a") + get("/b"), [200, 200], [("GET", "/a", ""), ("GET", "/b", "")], closes=False)
    yield Case("ten requests", "".join(get("/%d" % i) for i in range(10)), [200] * 10, [("GET", "/%d" % i, "") for i in range(10)], closes=False)
    yield Case("requests with bodies", post("Content-Length: 5", body="hello") + post(CHUNKED, body="2\r\nhi\r\n0\r\n\r\n") + get("/b"), [200] * 3,
               [("POST", "/t", "hello"), ("POST", "/t", "hi"), ("GET", "/b", "")], closes=False)
    yield Case("a request and nonsense", get("/a") + "nonsense\r\n\r\n", [200, 400], [("GET", "/a", "")])
    yield Case("a request and a zero byte", get("/a") + "\0", [200, 400], [("GET", "/a", "")])
    yield Case("a request and a bad one", get("/a") + post("Content-Length: x", body="hello"), [200, 400], [("GET", "/a", "")])
    yield Case("a request, a blank, a request", get("/a") + " " + get("/b"), [200, 400], [("GET", "/a", "")])
    yield Case("a request, an empty line, a request", get("/a") + "\r\n" + get("/b"), [200, 200], [("GET", "/a", ""), ("GET", "/b", "")], closes=False)
    yield Case("a request, a line feed, a request", get("/a") + "\n" + get("/b"), [200, 400], [("GET", "/a", "")])
    yield Case("a request behind one that closes", get("/a", "Connection: close") + get("/b"), [200], [("GET", "/a", "")])
    yield Case("a request behind HTTP/1.0", head("GET /a HTTP/1.0") + get("/b"), [200], [("GET", "/a", "")])
    yield Case("a request behind one that the gateway answers", get("/private") + get("/b"), [403, 200], [("GET", "/b", "")], closes=False)
    yield Case("a body that the gateway's own answer does not wait for", get("/private", "Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, [403])
    yield Case("chunks that the gateway's own answer does not wait for", get("/own", CHUNKED) + "%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), [200])
    yield refused("a refused request with a body that looks like one", get("/t#", "Content-Length: %d" % len(SMUGGLED)) + SMUGGLED)
    yield Case("a request behind the last chunk", post(CHUNKED, body="0\r\n\r\n") + get("/b"), [200, 200], [("POST", "/t", ""), ("GET", "/b", "")], closes=False)
    yield Case("nonsense behind the last chunk", post(CHUNKED, body="0\r\n\r\nhello\r\n\r\n"), [200, 400], [("POST", "/t", "")])
    yield Case("an empty chunked body for GET", get("/t", CHUNKED) + "0\r\n\r\n", [200], [("GET", "/t", "")], closes=False)


def all_cases():
    cases = []
    for part in (lengths, codings, chunks, lines, request_lines, targets, hosts, fields, connections, pipelines):
        cases += part()
    names = [case.name for case in cases]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return cases
