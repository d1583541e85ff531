package org.apache.flink.metrics.prometheus;

import io.prometheus.client.exporter.HTTPServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Properties;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;

/**
 * Flink's Prometheus reporter on loopback: Flink's own takes a port and no address, and listens on all interfaces. In Flink's package,
 * since that is who may read the registry.
 */
public class LoopbackPrometheusReporterFactory implements MetricReporterFactory {
  @Override
  public MetricReporter createMetricReporter(Properties properties) {
    return new Reporter(Integer.parseInt(properties.getProperty("port")));
  }

  private static final class Reporter extends AbstractPrometheusReporter {
    private final HTTPServer server;

    Reporter(int port) {
      try {
        server = new HTTPServer(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), registry);
      } catch (IOException error) {
        throw new UncheckedIOException("port " + port + " of the metrics reporter", error);
      }
      log.info("metrics on {}:{}", InetAddress.getLoopbackAddress().getHostAddress(), port);
    }

    @Override
    public void close() {
      server.stop();
      super.close();
    }
  }
}
