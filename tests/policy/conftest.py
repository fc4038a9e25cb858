from .policies import policies as policies
