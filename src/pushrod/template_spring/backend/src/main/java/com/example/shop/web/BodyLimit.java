package com.example.shop.web;

import jakarta.servlet.ReadListener;
import jakarta.servlet.ServletInputStream;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import java.io.IOException;
import org.springframework.http.HttpStatus;

/** A request whose body has at most MOST bytes, whether or not it declares its length. No address takes files. */
class BodyLimit extends HttpServletRequestWrapper {

    static final int MOST = 64 * 1024;

    BodyLimit(HttpServletRequest request) {
        super(request);
    }

    static Problem problem() {
        return new Problem(HttpStatus.PAYLOAD_TOO_LARGE, "a body has at most " + MOST + " bytes");
    }

    @Override
    public ServletInputStream getInputStream() throws IOException {
        return new Counted(super.getInputStream());
    }

    static class TooLargeException extends IOException {

        private static final long serialVersionUID = 1;

        Problem problem() {
            return BodyLimit.problem();
        }
    }

    private static class Counted extends ServletInputStream {

        private final ServletInputStream body;
        private int seen;

        Counted(ServletInputStream body) {
            this.body = body;
        }

        @Override
        public int read() throws IOException {
            int value = body.read();
            count(value < 0 ? 0 : 1);
            return value;
        }

        @Override
        public int read(byte[] bytes, int offset, int length) throws IOException {
            int read = body.read(bytes, offset, length);
            count(Math.max(0, read));
            return read;
        }

        private void count(int read) throws TooLargeException {
            seen += read;
            if (seen > MOST) {
                throw new TooLargeException();
            }
        }

        @Override
        public boolean isFinished() {
            return body.isFinished();
        }

        @Override
        public boolean isReady() {
            return body.isReady();
        }

        @Override
        public void setReadListener(ReadListener listener) {
            body.setReadListener(listener);
        }
    }
}
