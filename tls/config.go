package tls

// CertificatesConfig is the document's certificates section.
type CertificatesConfig struct {
	Email string `yaml:"email" doc:"Contact address of the operators, for certificate authorities that ask for one."`
}
